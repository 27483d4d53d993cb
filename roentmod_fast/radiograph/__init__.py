"""A radiograph in and out: sources, DICOM and pictures read, an edit put back, DICOM and pictures written.

The way in: :mod:`.sources` finds files, :mod:`.read` reads one into a :class:`~.model.Radiograph`, :mod:`.letterbox`
brings it to an engine's square. The way out: :mod:`.compose` puts the edit into the source, :mod:`.dicom_write` and
:mod:`.raster` write it, :mod:`.preview` shows it. pydicom and Pillow are imported only inside this room.
"""
