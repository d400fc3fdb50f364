-- flow: how many patients, studies and series each filter left when it was frozen, as a JSON array of objects.
alter table cohorts add column flow text not null default '[]';
