"""The archive's doors: Orthanc's REST, DICOMweb and DIMSE; `create_app` is the one for HTTP."""
