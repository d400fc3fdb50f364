-- What is known of objects beside their files. level and owner name the object: a patient's patient_key, a study's
-- patient_key/study_uid, a series' patient_key/study_uid/series_uid, an instance's key.
create table labels (
    level text not null,
    owner text not null,
    label text not null,
    primary key (level, owner, label)
) strict, without rowid;

create index labels_by_label on labels (label, level);

-- The objects whose labels changed, by the change of the feed that says so; kept when the last label goes.
create table label_changes (
    level text not null,
    owner text not null,
    seq integer not null,
    primary key (level, owner)
) strict, without rowid;

create index label_changes_by_seq on label_changes (seq);

create table metadata (
    level text not null,
    owner text not null,
    name text not null,
    revision integer not null,
    value blob not null,
    primary key (level, owner, name)
) strict, without rowid;

create table attachments (
    level text not null,
    owner text not null,
    name text not null,
    revision integer not null,
    sha256 text not null,
    md5 text not null,
    size integer not null,
    primary key (level, owner, name)
) strict, without rowid;

create index attachments_by_hash on attachments (sha256);

-- Files that a deletion left behind; whoever attaches or detaches next removes those that nobody needs.
create table loose_attachments (
    sha256 text primary key
) strict, without rowid;

create trigger attachment_gone after delete on attachments begin
    insert or ignore into loose_attachments values (old.sha256);
end;

create trigger label_gone after delete on labels begin
    insert or replace into label_changes values (old.level, old.owner, (select last from feed));
end;

create trigger patient_gone after delete on patients begin
    delete from labels where level = 'patient' and owner = old.patient_key;
    delete from metadata where level = 'patient' and owner = old.patient_key;
    delete from attachments where level = 'patient' and owner = old.patient_key;
end;

create trigger study_gone after delete on studies begin
    delete from labels where level = 'study' and owner = old.patient_key || '/' || old.study_uid;
    delete from metadata where level = 'study' and owner = old.patient_key || '/' || old.study_uid;
    delete from attachments where level = 'study' and owner = old.patient_key || '/' || old.study_uid;
end;

create trigger series_gone after delete on series begin
    delete from labels
    where level = 'series' and owner = old.patient_key || '/' || old.study_uid || '/' || old.series_uid;
    delete from metadata
    where level = 'series' and owner = old.patient_key || '/' || old.study_uid || '/' || old.series_uid;
    delete from attachments
    where level = 'series' and owner = old.patient_key || '/' || old.study_uid || '/' || old.series_uid;
end;

create trigger instance_gone after delete on instances begin
    delete from labels where level = 'instance' and owner = old.key;
    delete from metadata where level = 'instance' and owner = old.key;
    delete from attachments where level = 'instance' and owner = old.key;
end;

-- Work that outlives the process that took it on. worker: the workspace of the thread that has claimed it. wanted: what
-- the worker is asked to do at its next step. request may hold patient data, content never does.
create table jobs (
    number integer primary key autoincrement,
    id text not null unique,
    kind text not null,
    state text not null check (state in ('pending', 'running', 'success', 'failure', 'paused', 'retry')),
    priority integer not null,
    request text not null,
    content text not null default '{}',
    progress real not null default 0,
    error text,
    error_details text not null default '',
    attempts integer not null default 0,
    worker text,
    wanted text check (wanted in ('cancel', 'pause')),
    not_before real not null default 0,
    runtime_s real not null default 0,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    completed_at text
) strict;

create index jobs_by_state on jobs (state, priority, number);
