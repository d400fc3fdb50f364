-- The rows that the committer would make, table by table: every insert sorts them as the table's files are sorted.
-- Only the keys of texts are numbered otherwise.

insert into pacs.main.patients by name
select
    patient_key, "PatientID", "PatientName",
    {'family': upper(family), 'given': given, 'middle': null, 'prefix': null, 'suffix': null, 'ideographic': null,
     'phonetic': null} as "PatientName_parts",
    "PatientBirthDate", "PatientSex",
    lower("PatientName") as patient_search_name, 1 as study_count, 5 as series_count, 500 as instance_count,
    '{' || patient_tags[2:] || '}' as tags
from all_patients
where p >= getvariable('first') and p < getvariable('last');

insert into pacs.main.studies by name
select
    patient_key, "PatientID", "StudyInstanceUID", "StudyDate", "StudyTime", s::varchar as "StudyID", "AccessionNumber",
    "StudyDescription", 'General Hospital' as "InstitutionName", "ModalitiesInStudy",
    5 as series_count, 500 as instance_count,
    '{' || study_tags[2:] || patient_tags || '}' as tags
from all_studies;

insert into pacs.main.series by name
select
    patient_key, "PatientID", "StudyInstanceUID", "StudyDate", "StudyDescription", "SeriesInstanceUID", "Modality",
    "SeriesNumber", "SeriesDescription", part as "BodyPartExamined", "ProtocolName", 'HFS' as "PatientPosition",
    "FrameOfReferenceUID", "Manufacturer", "ManufacturerModelName", "StationName", "SliceThickness",
    case when "ConvolutionKernel" is not null then ["ConvolutionKernel"] end as "ConvolutionKernel",
    "KVP", "MagneticFieldStrength", "EchoTime", "RepetitionTime",
    100 as instance_count, 100 as frame_count, 100 * 526000 as size_bytes,
    uid('instance', 100 * i) as first_sop_instance_uid, text_key,
    series_tags as tags
from all_series;

insert into pacs.main.series_keys by name
select
    patient_key, "StudyInstanceUID", "SeriesInstanceUID", "StudyDate", "Modality", part as "BodyPartExamined",
    text_key
from all_series;

insert into pacs.main.search_texts by name
select distinct text_key, search_text
from all_series
where text_key not in (select text_key from pacs.main.search_texts);

insert into pacs.main.geometry by name
select
    patient_key, "StudyInstanceUID", "SeriesInstanceUID", 0 as stack, 0 as volume, '{}' as dimensions, 'uniform' as kind,
    []::varchar[] as reasons, true as is_volume, [100, 512, 512] as shape,
    [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] as orientation,
    "SliceThickness" as spacing_z_mm, 0.7 as spacing_y_mm, 0.7 as spacing_x_mm, 0.0 as spacing_error_mm,
    [0.0, 0.0, 0.7, 0.0, 0.0, 0.7, 0.0, 0.0, "SliceThickness", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0] as affine_lps
from all_series;

insert into pacs.main.series_common by name
select patient_key, "StudyInstanceUID", "SeriesInstanceUID", series_tags as tags
from all_series;

insert into pacs.main.instances_own by name
select
    instance_key, patient_key, "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
    '1.2.840.10008.5.1.4.1.1.2' as "SOPClassUID", n + 1 as "InstanceNumber", 1 as "AcquisitionNumber",
    ['ORIGINAL', 'PRIMARY', 'AXIAL'] as "ImageType", "StudyDate" as "AcquisitionDate", z as "SliceLocation",
    [-150.0, -150.0, z] as "ImagePositionPatient", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] as "ImageOrientationPatient",
    [0.7, 0.7] as "PixelSpacing", 512 as "Rows", 512 as "Columns", 1 as "SamplesPerPixel",
    'MONOCHROME2' as "PhotometricInterpretation", 16 as "BitsAllocated", 12 as "BitsStored", 11 as "HighBit",
    0 as "PixelRepresentation", 1.0 as "RescaleSlope", -1024.0 as "RescaleIntercept",
    (100 + drawn(j, 'current') % 300)::integer as "XRayTubeCurrent", '1.2.840.10008.1.2.1' as "TransferSyntaxUID",
    1 as frame_count, 526000 + (drawn(j, 'size') % 100) * 2 as size_bytes, sha256, stored_at,
    '{"ImagePositionPatient":[-150.0,-150.0,' || z || '],"InstanceNumber":' || (n + 1)
        || ',"SOPInstanceUID":0,"SliceLocation":' || z || ',"XRayTubeCurrent":'
        || (100 + drawn(j, 'current') % 300) || '}' as tags
from all_instances;

insert into pacs.main.frames by name
select
    patient_key, "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", 0 as frame_index,
    [-150.0, -150.0, z] as position, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] as orientation, [0.7, 0.7] as pixel_spacing,
    1.0 as rescale_slope, -1024.0 as rescale_intercept, 0 as stack, n + 1 as "InstanceNumber",
    1500 + drawn(j, 'size') % 100 as byte_offset, 524288 as byte_length,
    '{"transfer_syntax_uid":"1.2.840.10008.1.2.1","rows":512,"columns":512,"samples_per_pixel":1,"bits_allocated":16,'
        || '"bits_stored":12,"pixel_representation":0,"photometric_interpretation":"MONOCHROME2",'
        || '"planar_configuration":0,"number_of_frames":1,"pixel_keyword":"PixelData","high_bit":null}' as pixel_layout
from all_instances;
