-- As in the ledger of an archive that is here.
create table labels (
    level text not null,
    owner text not null,
    label text not null,
    primary key (level, owner, label)
) strict, without rowid;

create index labels_by_label on labels (label, level);

create table label_changes (
    level text not null,
    owner text not null,
    seq integer not null,
    primary key (level, owner)
) strict, without rowid;

create index label_changes_by_seq on label_changes (seq);

create trigger label_gone after delete on labels begin
    insert or replace into label_changes values (old.level, old.owner, (select last from feed));
end;

create trigger patient_gone after delete on patients begin
    delete from labels where level = 'patient' and owner = old.patient_key;
end;

create trigger study_gone after delete on studies begin
    delete from labels where level = 'study' and owner = old.patient_key || '/' || old.study_uid;
end;

create trigger series_gone after delete on series begin
    delete from labels
    where level = 'series' and owner = old.patient_key || '/' || old.study_uid || '/' || old.series_uid;
end;

create trigger instance_gone after delete on instances begin
    delete from labels where level = 'instance' and owner = old.key;
end;
