-- What was taken from the headers of instances when they came (researchpacs.dicom.facts), until the catalog has it.
-- It can be derived from the files again. seq: the change that stored the instance, so that nothing older is taken for it.
create table facts (
    key text primary key,
    seq integer not null,
    base text not null,
    own text not null,
    issues text not null
) strict, without rowid;

-- The attributes of the first instance of each kind, once, by their SHA-1.
create table fact_bases (
    digest text primary key,
    attributes text not null
) strict, without rowid;

create trigger facts_gone after delete on instances begin
    delete from facts where key = old.key;
end;
