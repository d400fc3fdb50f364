-- As in the ledger of an archive that is here.
create table conflicts (
    key text not null,
    sha256 text not null,
    size integer not null,
    reference_path blob,
    received_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (key, sha256)
) strict, without rowid;
