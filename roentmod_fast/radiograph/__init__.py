"""A radiograph in and out: find sources, read DICOM, PNG or JPEG, put an edit back, write DICOM or PNG.

The way in: :mod:`.sources` finds files, :mod:`.read` reads one into a :class:`~.model.Radiograph`, :mod:`.letterbox`
pads and resamples it to an engine's square. The way out: :mod:`.compose` puts the edit into the source,
:mod:`.dicom.write` and :mod:`.raster` write it, :mod:`.preview` shows it. Only this package imports pydicom and Pillow.
"""
