"""A DICOM file in and out: header, pixels, grayscale; and back, with the marks of a synthetic image."""
