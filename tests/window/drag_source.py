"""A small window to drag files out of, as a file manager would.

Usage: drag_source.py X Y URI...

Offers file: addresses as text/uri-list. Writes one word a line to its output as
things happen: shown, begun, accepted (the window under the pointer would take
the files), refused, finished, cancelled.
"""

import sys

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, GdkPixbuf, Gtk  # noqa: E402


def say(word):
    print(word, flush=True)


def offer(_widget, _context, data, _info, _time):
    data.set_uris(uris)


def begin(_widget, context):
    # Well away from the pointer, so that pictures show the window alone.
    icon = GdkPixbuf.Pixbuf.new(GdkPixbuf.Colorspace.RGB, True, 8, 1, 1)
    icon.fill(0)
    Gtk.drag_set_icon_pixbuf(context, icon, -4000, 0)
    context.connect("action-changed", lambda _context, action: say("accepted" if action else "refused"))
    context.connect("dnd-finished", lambda _context: say("finished"))
    context.connect("cancel", lambda _context, _reason: say("cancelled"))
    say("begun")


x, y = int(sys.argv[1]), int(sys.argv[2])
uris = sys.argv[3:]

handle = Gtk.EventBox()
handle.add(Gtk.Label(label="Drag me"))
handle.drag_source_set(Gdk.ModifierType.BUTTON1_MASK, [], Gdk.DragAction.COPY)
handle.drag_source_add_uri_targets()
handle.connect("drag-begin", begin)
handle.connect("drag-data-get", offer)

window = Gtk.Window(title="Drag source", decorated=False)
window.set_default_size(120, 60)
window.set_keep_above(True)
window.set_accept_focus(False)
window.add(handle)
window.connect("map-event", lambda _window, _event: say("shown"))
window.connect("destroy", Gtk.main_quit)
window.move(x, y)
window.show_all()
Gtk.main()
