-- Where the frames of instances are (researchpacs.dicom.frame_record): derived from their files, null until it is known.
-- frame_forms: what most instances of a series share, once each.
create table frame_forms (
    number integer primary key,
    form text not null unique
) strict;

alter table instances add column frame_form integer;
alter table instances add column frame_places blob;
