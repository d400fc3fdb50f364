-- A hospital of any size with five series each. One study in a hundred has its instances too, a hundred in each
-- series, so that there are as many instances as series. Everything is a function of the number of the study.

-- Hashed twice: the last bits of hash(number, salt) are those of hash(number), whatever the salt.
create macro drawn(number, salt) as hash(hash(number, salt));

create macro pick(list, salt, number) as list[1 + (drawn(number, salt) % len(list))::integer];

-- A few values are frequent, as in life.
create macro skewed(count, salt, number) as floor(count * power((drawn(number, salt) % 1000000) / 1e6, 3))::bigint;

create macro uid(kind, number) as '1.2.840.99999.' || hash(number, kind) || '.' || hash(kind, number);

create macro orthanc(text) as regexp_replace(sha1(text), '(.{8})(.{8})(.{8})(.{8})(.{8})', '\1-\2-\3-\4-\5');

create macro texts(keyword, value) as case when value is null then '' else ',"' || keyword || '":"' || value || '"' end;

create macro numbers(keyword, value) as case when value is null then '' else ',"' || keyword || '":' || value end;

create view all_patients as
with named as (
    select
        p,
        'P' || lpad(p::varchar, 9, '0') as "PatientID",
        pick(['Ha', 'Me', 'Schmi', 'Lo', 'Ta', 'Ro', 'No', 'Si', 'We', 'Jo', 'Kle', 'Ber', 'Do', 'Fe', 'Gar', 'Iva',
              'Ka', 'Nguy', 'Oli', 'Pa'], 'family', p)
            || pick(['ck', 'i', 'd', 'p', 'n', 'ss', 'v', 'lv', 'b', 'n', 'r', 'g', 'm', 'rn', 'ci', 'no', 'w', 'ev',
                     't', 'll'], 'middle', p)
            || pick(['er', 'ez', 'a', 'i', 'ak', 'es', 'ski', 'son', 'mann', 'o', 'ov', 'in', 'aka', 'berg', 'ini',
                     'u'], 'end', p)
            as family,
        pick(['An', 'Be', 'Cla', 'Da', 'E', 'Fran', 'Ge', 'Hei', 'I', 'Jo', 'Ka', 'Lu', 'Ma', 'Ni', 'Ol', 'Pe', 'Ro',
              'So', 'Ti', 'Vi'], 'given', p)
            || pick(['na', 'n', 'ra', 'vid', 'lena', 'z', 'rd', 'di', 'rene', 'han', 'rin', 'ca', 'ria', 'co', 'ga',
                     'ter', 'sa', 'fia', 'na', 'ktor'], 'name', p)
            as given,
        date '1930-01-01' + (drawn(p, 'birth') % 33000)::integer as "PatientBirthDate",
        pick(['M', 'F', 'F', 'M', 'O'], 'sex', p) as "PatientSex"
    from range(getvariable('patients')) patients(p)
)
select
    *,
    sha1("PatientID" || chr(0)) as patient_key,
    upper(family) || '^' || given as "PatientName",
    texts('PatientBirthDate', strftime("PatientBirthDate", '%Y%m%d')) || texts('PatientID', "PatientID")
        || texts('PatientName', "PatientName") || texts('PatientSex', "PatientSex")
        as patient_tags
from named;

create view all_studies as
with dated as (
    select
        s,
        case when s < getvariable('patients') then s else (drawn(s, 'again') % getvariable('patients'))::bigint end
            as p,
        uid('study', s) as "StudyInstanceUID",
        date '2006-01-01' + (drawn(s, 'date') % 7300)::integer as "StudyDate",
        time '00:00:00' + to_seconds((drawn(s, 'time') % 86400)::integer) as "StudyTime",
        pick(['CT', 'CT', 'MR', 'MR', 'PT', 'DX', 'US', 'MG'], 'modality', s) as modality,
        pick(['CHEST', 'HEAD', 'ABDOMEN', 'KNEE', 'SPINE', 'PELVIS', 'BREAST', 'NECK', 'SHOULDER', 'HAND', 'FOOT',
              'HEART'], 'part', s) as part,
        s % 100 = 0 as has_instances,
        skewed(120, 'protocol', s) as protocol,
        'A' || lpad(s::varchar, 9, '0') as "AccessionNumber"
    from range(getvariable('first'), getvariable('last')) studies(s)
)
select
    *,
    modality || ' ' || part || ['', ' W CONTRAST', ' WO CONTRAST', ' W AND WO CONTRAST'][1 + protocol % 4]
        || case when protocol = 0 then '' else ' PROTOCOL ' || protocol end
        as "StudyDescription",
    ['Routine', 'Trauma', '3 phase', 'Whole Body', 'Screening', 'Staging'][1 + protocol % 6] || ' ' || lower(part)
        || ' ' || protocol
        as "ProtocolName",
    case when modality = 'PT' then ['CT', 'PT'] else [modality] end as "ModalitiesInStudy",
    texts('AccessionNumber', "AccessionNumber") || texts('StudyDate', strftime("StudyDate", '%Y%m%d'))
        || texts('StudyDescription', "StudyDescription") || texts('StudyID', "s"::varchar)
        || texts('StudyInstanceUID', "StudyInstanceUID") || texts('StudyTime', replace("StudyTime"::varchar, ':', ''))
        as study_tags
from dated
join all_patients using (p);

create view all_series as
with numbered as (
    select
        * exclude (modality),
        5 * s + k as i,
        k + 1 as "SeriesNumber",
        uid('series', i) as "SeriesInstanceUID",
        uid('frame of reference', s) as "FrameOfReferenceUID",
        case when modality = 'PT' and k < 2 then 'CT' else modality end as "Modality",
        -- What a protocol makes is the same each time: some forty kinds of series.
        100 * protocol + skewed(40, 'variant', i) as kind,
        pick(['AX', 'COR', 'SAG', 'OBL', 'SCOUT', 'MIP'], 'plane', kind) as plane,
        pick(['0.6', '1.0', '1.5', '2.0', '3.0', '5.0'], 'thick', kind)::double as "SliceThickness",
        pick(['Siemens', 'GE MEDICAL SYSTEMS', 'Philips', 'Canon', 'United Imaging'], 'maker', s) as "Manufacturer",
        pick(['bone', 'lung', 'soft', 'brain', 'dixon', 'stir', 'flair', 'angio', 'delayed', 'arterial', 'venous',
              'perfusion', 'localizer', 'screening', 'followup'], 'word', kind) as word
    from all_studies, range(5) five(k)
), described as (
    select
        *,
        plane || ' ' || word || ' ' || "SliceThickness" as "SeriesDescription",
        lower(concat_ws(chr(10), "StudyDescription", "SeriesDescription", "ProtocolName", part)) as search_text,
        case when "Modality" = 'CT' then pick([80, 100, 120, 140], 'kvp', i)::double end as "KVP",
        case when "Modality" = 'MR' then pick([1.5, 3.0], 'tesla', s)::double end as "MagneticFieldStrength",
        "Manufacturer" || ' ' || skewed(30, 'model', s) as "ManufacturerModelName",
        'S' || skewed(200, 'station', s) as "StationName",
        case when "Modality" = 'CT' then 'B' || (30 + drawn(i, 'kernel') % 50) || 'f' end as "ConvolutionKernel",
        case when "Modality" = 'MR' then 2 + (drawn(i, 'echo') % 1000) / 10 end as "EchoTime",
        case when "Modality" = 'MR' then 400 + (drawn(i, 'repetition') % 5000) end::double as "RepetitionTime"
    from numbered
)
select
    *,
    (hash(search_text) >> 1)::bigint as text_key,
    '{"AcquisitionNumber":1,"BitsAllocated":16,"BitsStored":12,"Columns":512' || texts('BodyPartExamined', part)
        || texts('ConvolutionKernel', "ConvolutionKernel") || numbers('EchoTime', "EchoTime")
        || texts('FrameOfReferenceUID', "FrameOfReferenceUID")
        || numbers('GeneratorPower', case when "Modality" = 'CT' then (10 + drawn(i, 'power') % 50) end)
        || ',"HighBit":11,"ImageOrientationPatient":[1.0,0.0,0.0,0.0,1.0,0.0]'
        || ',"ImageType":["ORIGINAL","PRIMARY","AXIAL"]'
        || numbers('KVP', "KVP") || numbers('MagneticFieldStrength', "MagneticFieldStrength")
        || texts('Manufacturer', "Manufacturer") || texts('ManufacturerModelName', "ManufacturerModelName")
        || texts('Modality', "Modality") || patient_tags || ',"PhotometricInterpretation":"MONOCHROME2"'
        || ',"PixelRepresentation":0,"PixelSpacing":[0.7,0.7]' || texts('ProtocolName', "ProtocolName")
        || numbers('RepetitionTime', "RepetitionTime") || ',"RescaleIntercept":-1024.0,"RescaleSlope":1.0,"Rows":512'
        || ',"SOPClassUID":"1.2.840.10008.5.1.4.1.1.2","SamplesPerPixel":1'
        || texts('SeriesDescription', "SeriesDescription") || texts('SeriesInstanceUID', "SeriesInstanceUID")
        || numbers('SeriesNumber', "SeriesNumber") || numbers('SliceThickness', "SliceThickness")
        || texts('StationName', "StationName") || study_tags || '}'
        as series_tags
from described;

create view all_instances as
with numbered as (
    select
        s, i, 100 * i + n as j, n, patient_key, "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate",
        "SliceThickness", "FrameOfReferenceUID",
        uid('instance', j) as "SOPInstanceUID",
        round(n * "SliceThickness", 4) as z
    from all_series, range(100) hundred(n)
    where has_instances
)
select
    *,
    sha1(patient_key || chr(0) || "StudyInstanceUID" || chr(0) || "SeriesInstanceUID" || chr(0) || "SOPInstanceUID")
        as instance_key,
    sha256('file' || j) as sha256,
    make_timestamp(2026, 1, 1, 0, 0, 0) + to_milliseconds(10 * i) as stored_at
from numbered;
