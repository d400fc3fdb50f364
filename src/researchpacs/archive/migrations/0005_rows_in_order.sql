-- Rows of instances lie in the order in which they came, not by key: they are long, and one that is put among all others
-- moves its neighbours, while indexes by key held the key once each. Nothing else of the table changes.
create table instances_in_order (
    key text not null unique,
    seq integer primary key,
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
    frame_form integer,
    frame_places blob,
    foreign key (patient_key, study_uid, series_uid) references series,
    check (sha256 is not null or reference_path is not null)
) strict;

insert into instances_in_order (
    key, seq, patient_key, patient_id, issuer, study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid,
    size, header_length, dataset_offset, sha256, dataset_sha256, reference_path, reference_mtime_ns,
    reference_header_sha256, attributes, issues, orthanc_id, stored_at, frame_form, frame_places
)
select
    key, seq, patient_key, patient_id, issuer, study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid,
    size, header_length, dataset_offset, sha256, dataset_sha256, reference_path, reference_mtime_ns,
    reference_header_sha256, attributes, issues, orthanc_id, stored_at, frame_form, frame_places
from instances
order by seq;

-- Dropping a table fires no trigger, but drops those that it has.
drop table instances;

alter table instances_in_order rename to instances;

create index instances_by_orthanc_id on instances (orthanc_id);
create index instances_by_uid on instances (sop_uid);
create index instances_by_parents on instances (patient_key, study_uid, series_uid);
create index instances_by_hash on instances (sha256) where sha256 is not null;

create trigger instance_gone after delete on instances begin
    delete from labels where level = 'instance' and owner = old.key;
    delete from metadata where level = 'instance' and owner = old.key;
    delete from attachments where level = 'instance' and owner = old.key;
end;

create trigger facts_gone after delete on instances begin
    delete from facts where key = old.key;
end;
