-- One row: the change feed made from what was seen, and how far the server has been followed.
create table feed (
    feed_id text not null,
    last integer not null,
    cursor text not null default '{}'
) strict;

insert into feed (feed_id, last) values (lower(hex(randomblob(16))), 0);

-- attributes: the indexed attributes of the level by keyword, as in the first instance that was seen.
create table patients (
    patient_key text primary key,
    patient_id text not null,
    issuer text not null,
    attributes text not null
) strict, without rowid;

create table studies (
    patient_key text not null references patients,
    study_uid text not null,
    attributes text not null,
    primary key (patient_key, study_uid)
) strict, without rowid;

create index studies_by_uid on studies (study_uid);

create table series (
    patient_key text not null,
    study_uid text not null,
    series_uid text not null,
    attributes text not null,
    primary key (patient_key, study_uid, series_uid),
    foreign key (patient_key, study_uid) references studies
) strict, without rowid;

create index series_by_uid on series (series_uid);

-- name: the path of the instance below the server's address. version: changes with its content.
create table instances (
    key text primary key,
    seq integer not null unique,
    name text not null unique,
    version text not null,
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
    attributes text not null,
    issues text not null,
    stored_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    foreign key (patient_key, study_uid, series_uid) references series
) strict, without rowid;

create index instances_by_uid on instances (sop_uid);
create index instances_by_parents on instances (patient_key, study_uid, series_uid);

create table deletions (
    key text primary key,
    seq integer not null unique,
    patient_id text not null,
    issuer text not null,
    study_uid text not null,
    series_uid text not null,
    sop_uid text not null
) strict, without rowid;

-- What the server holds and the guarded scan does not let in.
create table refused (
    name text primary key,
    version text not null,
    reason text not null
) strict, without rowid;
