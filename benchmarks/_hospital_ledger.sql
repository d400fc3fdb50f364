-- The rows of an archive that took these instances, table by table, in the order in which the ledger keeps them.

select
    'patients' as into_table, patient_key, "PatientID" as patient_id, '' as issuer,
    '{' || patient_tags[2:] || '}' as attributes, orthanc("PatientID") as orthanc_id
from all_patients
where p >= getvariable('first') and p < getvariable('last')
order by patient_key;

select
    'studies' as into_table, patient_key, "StudyInstanceUID" as study_uid, '{' || study_tags[2:] || '}' as attributes,
    orthanc("PatientID" || '|' || "StudyInstanceUID") as orthanc_id
from all_studies
order by patient_key, study_uid;

select
    'series' as into_table, patient_key, "StudyInstanceUID" as study_uid, "SeriesInstanceUID" as series_uid,
    '{' || texts('SeriesInstanceUID', "SeriesInstanceUID")[2:] || texts('Modality', "Modality")
        || texts('SeriesNumber', "SeriesNumber"::varchar) || texts('SeriesDescription', "SeriesDescription")
        || texts('BodyPartExamined', part) || texts('ProtocolName', "ProtocolName")
        || texts('Manufacturer', "Manufacturer") || texts('StationName', "StationName")
        || texts('FrameOfReferenceUID', "FrameOfReferenceUID") || texts('ImageOrientationPatient', '1\\0\\0\\0\\1\\0')
        || '}' as attributes,
    orthanc("PatientID" || '|' || "StudyInstanceUID" || '|' || "SeriesInstanceUID") as orthanc_id
from all_series
order by patient_key, study_uid, series_uid;

select
    'instances' as into_table, instance_key as key, (j // 50000) * 500 + j % 500 + 1 as seq, patient_key,
    "PatientID" as patient_id, '' as issuer, "StudyInstanceUID" as study_uid, "SeriesInstanceUID" as series_uid,
    "SOPInstanceUID" as sop_uid, '1.2.840.10008.5.1.4.1.1.2' as sop_class_uid,
    '1.2.840.10008.1.2.1' as transfer_syntax_uid, 526000 + (drawn(j, 'size') % 100)::bigint * 2 as size,
    1500 as header_length, 330 as dataset_offset, sha256, sha256('data' || j) as dataset_sha256,
    '{' || texts('SOPInstanceUID', "SOPInstanceUID")[2:] || texts('SOPClassUID', '1.2.840.10008.5.1.4.1.1.2')
        || texts('InstanceNumber', (n + 1)::varchar) || texts('AcquisitionNumber', '1')
        || texts('ImageType', 'ORIGINAL\\PRIMARY\\AXIAL') || texts('Rows', '512') || texts('Columns', '512')
        || texts('BitsAllocated', '16') || texts('ImagePositionPatient', '-150\\-150\\' || z)
        || texts('ImageOrientationPatient', '1\\0\\0\\0\\1\\0') || '}' as attributes,
    '[]' as issues,
    orthanc("PatientID" || '|' || "StudyInstanceUID" || '|' || "SeriesInstanceUID" || '|' || "SOPInstanceUID")
        as orthanc_id,
    strftime(stored_at, '%Y-%m-%dT%H:%M:%S.%gZ') as stored_at
from all_instances
order by key;
