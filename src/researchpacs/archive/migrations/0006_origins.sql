-- Whose data a series are, as their publisher says: what a cohort and an export have to name. owner:
-- patient_key/study_uid/series_uid.
create table origins (
    owner text primary key,
    collection_id text,
    license_short_name text,
    source_doi text,
    source_url text
) strict, without rowid;

-- The series whose origin changed, by the change of the feed that says so; kept when it goes.
create table origin_changes (
    owner text primary key,
    seq integer not null
) strict, without rowid;

create index origin_changes_by_seq on origin_changes (seq);

create trigger origin_gone after delete on origins begin
    insert or replace into origin_changes values (old.owner, (select last from feed));
end;

create trigger series_origin_gone after delete on series begin
    delete from origins where owner = old.patient_key || '/' || old.study_uid || '/' || old.series_uid;
end;
