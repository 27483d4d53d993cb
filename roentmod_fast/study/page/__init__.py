"""A page to look at edits: one HTML file that needs no network and no other file.

:func:`~.edits.write_page` writes the page of one radiograph and its edits, :func:`~.index.write_index` the index of
many such pages. All pages share one template of our own, which is data of this package.
"""
