"""A clipboard that holds files, as a file manager's "Copy" leaves it.

Usage: clipboard_source.py URI...

Writes "copied" once the files are on the clipboard, and serves them from then on.
"""

import sys

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gtk  # noqa: E402


def copy(window, _event):
    """Owns the clipboard through a selection of the window's own."""
    Gtk.selection_add_target(window, Gdk.SELECTION_CLIPBOARD, Gdk.Atom.intern("text/uri-list", False), 0)
    Gtk.selection_owner_set(window, Gdk.SELECTION_CLIPBOARD, Gdk.CURRENT_TIME)
    print("copied", flush=True)


def serve(_widget, data, _info, _time):
    data.set_uris(sys.argv[1:])


window = Gtk.Window(title="Clipboard source", decorated=False)
window.set_accept_focus(False)
window.set_default_size(1, 1)
window.connect("selection-get", serve)
window.connect("map-event", copy)
window.move(1900, 1060)
window.show_all()
Gtk.main()
