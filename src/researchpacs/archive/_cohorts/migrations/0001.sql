-- query, params: what found the members, and its bound values as a JSON object; empty where UIDs or a table were given.
-- snapshot: the catalog's when it was frozen.
create table cohorts (
    name text primary key,
    description text not null,
    query text not null,
    params text not null,
    snapshot integer not null,
    digest text not null,
    author text not null,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) strict, without rowid;

-- digest: over the SOPInstanceUIDs and file hashes of the series. columns: the member's own values as a JSON object.
create table cohort_members (
    cohort text not null references cohorts,
    position integer not null,
    patient_key text not null,
    study_uid text not null,
    series_uid text not null,
    instance_count integer not null,
    digest text not null,
    columns text not null,
    primary key (cohort, position)
) strict, without rowid;
