-- One row: the change feed. A new feed_id tells every reader to start over.
create table feed (
    feed_id text not null,
    last integer not null
) strict;

insert into feed (feed_id, last) values (lower(hex(randomblob(16))), 0);

-- attributes: the indexed attributes of the level by keyword, as in the first instance that came.
-- orthanc_id: the hash under which Orthanc's clients know the object; patients of two issuers may share one.
-- updated_at: when an instance last came below it. stable: none has come for a while, and that was announced.
create table patients (
    patient_key text primary key,
    patient_id text not null,
    issuer text not null,
    attributes text not null,
    orthanc_id text not null,
    updated_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    stable integer not null default 0
) strict, without rowid;

create index patients_by_orthanc_id on patients (orthanc_id);
create index unstable_patients on patients (updated_at) where not stable;
create index patients_by_id on patients (patient_id);
create index patients_by_name on patients (json_extract(attributes, '$.PatientName'));

create table studies (
    patient_key text not null references patients,
    study_uid text not null,
    attributes text not null,
    orthanc_id text not null,
    updated_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    stable integer not null default 0,
    primary key (patient_key, study_uid)
) strict, without rowid;

create index studies_by_orthanc_id on studies (orthanc_id);
create index unstable_studies on studies (updated_at) where not stable;
create index studies_by_uid on studies (study_uid);
create index studies_by_date on studies (json_extract(attributes, '$.StudyDate'));
create index studies_by_accession on studies (json_extract(attributes, '$.AccessionNumber'));

create table series (
    patient_key text not null,
    study_uid text not null,
    series_uid text not null,
    attributes text not null,
    orthanc_id text not null,
    updated_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    stable integer not null default 0,
    primary key (patient_key, study_uid, series_uid),
    foreign key (patient_key, study_uid) references studies
) strict, without rowid;

create index series_by_orthanc_id on series (orthanc_id);
create index unstable_series on series (updated_at) where not stable;
create index series_by_uid on series (series_uid);
create index series_by_modality on series (json_extract(attributes, '$.Modality'));

-- seq: the change that stored it. reference_path: in the file system's own bytes. sha256 and dataset_sha256 are null for a reference that nobody has read in full.
create table instances (
    key text primary key,
    seq integer not null unique,
    patient_key text not null,
    patient_id text not null,
    issuer text not null,
    study_uid text not null,
    series_uid text not null,
    sop_uid text not null,
    sop_class_uid text not null,
    transfer_syntax_uid text not null,
    size integer not null,
    header_length integer not null,
    dataset_offset integer not null,
    sha256 text,
    dataset_sha256 text,
    reference_path blob,
    reference_mtime_ns integer,
    reference_header_sha256 text,
    attributes text not null,
    issues text not null,
    orthanc_id text not null,
    stored_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    foreign key (patient_key, study_uid, series_uid) references series,
    check (sha256 is not null or reference_path is not null)
) strict, without rowid;

create index instances_by_orthanc_id on instances (orthanc_id);
create index instances_by_uid on instances (sop_uid);
create index instances_by_parents on instances (patient_key, study_uid, series_uid);
create index instances_by_hash on instances (sha256);

-- What was deleted; a later deletion of the same instance replaces the row.
create table deletions (
    key text primary key,
    seq integer not null unique,
    patient_id text not null,
    issuer text not null,
    study_uid text not null,
    series_uid text not null,
    sop_uid text not null
) strict, without rowid;

-- Same identity, other content: kept aside in conflicts/, or where it is for a reference.
create table conflicts (
    key text not null,
    sha256 text not null,
    size integer not null,
    reference_path blob,
    received_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (key, sha256)
) strict, without rowid;

-- What peers follow: objects of all levels that came and became stable. A deleted object takes its lines with it.
create table journal (
    seq integer primary key autoincrement,
    kind text not null check (kind in ('new', 'stable')),
    level text not null,
    orthanc_id text not null,
    at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) strict;

create index journal_by_object on journal (orthanc_id);
