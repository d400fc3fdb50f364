-- snapshot_at: when the catalog's snapshot was made, UTC, which tells it from one of the same number in a catalog made anew.
alter table cohorts add column snapshot_at text not null default '';
-- seq: the change of the archive's feed that announced it.
alter table cohorts add column seq integer not null default 1;
create index cohorts_by_seq on cohorts (seq);
