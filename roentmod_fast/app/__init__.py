"""The app: a page in the browser of the same machine, served on loopback, over the editor and the pages of edits.

One file a subject: :mod:`.server` answers, :mod:`.security` decides what is answered, :mod:`.sitting` holds what is
open, :mod:`.queue` makes the edits, :mod:`.files` takes files in and gives them out.
"""
