"""Stands in for the desktop's notification daemon and file manager.

Writes one line for each request: "notify TITLE" or "show URI", and "ready"
once both names are taken on the session bus.
"""

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

INTERFACES = Gio.DBusNodeInfo.new_for_xml("""
<node>
  <interface name="org.freedesktop.Notifications">
    <method name="GetCapabilities"><arg type="as" direction="out"/></method>
    <method name="GetServerInformation">
      <arg type="s" direction="out"/><arg type="s" direction="out"/>
      <arg type="s" direction="out"/><arg type="s" direction="out"/>
    </method>
    <method name="CloseNotification"><arg type="u" direction="in"/></method>
    <method name="Notify">
      <arg type="s" direction="in"/><arg type="u" direction="in"/><arg type="s" direction="in"/>
      <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="as" direction="in"/>
      <arg type="a{sv}" direction="in"/><arg type="i" direction="in"/><arg type="u" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.FileManager1">
    <method name="ShowItems"><arg type="as" direction="in"/><arg type="s" direction="in"/></method>
  </interface>
</node>
""")

ANSWERS = {
    "GetCapabilities": GLib.Variant("(as)", (["body"],)),
    "GetServerInformation": GLib.Variant("(ssss)", ("stand-in", "", "1", "1.2")),
    "Notify": GLib.Variant("(u)", (1,)),
}


def say(line):
    print(line, flush=True)


def called(_connection, _sender, _path, _interface, method, arguments, invocation):
    if method == "Notify":
        say(f"notify {arguments[3]}")
    elif method == "ShowItems":
        for uri in arguments[0]:
            say(f"show {uri}")
    invocation.return_value(ANSWERS.get(method))


bus = Gio.bus_get_sync(Gio.BusType.SESSION)
for interface in INTERFACES.interfaces:
    path = "/" + interface.name.replace(".", "/")
    bus.register_object(path, interface, called, None, None)
    Gio.bus_own_name_on_connection(bus, interface.name, Gio.BusNameOwnerFlags.NONE, None, None)
# Answered after the names were taken, as the bus keeps the order.
bus.call_sync("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId", None, None, 0, -1, None)
say("ready")
GLib.MainLoop().run()
