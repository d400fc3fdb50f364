from pydicom.datadict import tag_for_keyword

from researchpacs.dicom import keywords


def test_every_main_attribute_is_in_the_data_dictionary():
    names = [name for level in keywords.MAIN.values() for name in level]

    assert [name for name in names if tag_for_keyword(name) is None] == []
    assert len(names) == len(set(names))


def test_every_main_attribute_belongs_to_the_level_that_lists_it():
    for level, names in keywords.MAIN.items():
        assert {keywords.level_of(name) for name in names} == {level}


def test_a_misspelt_keyword_finds_the_one_that_was_meant():
    assert keywords.nearest("Modalty") == "Modality"
    assert keywords.nearest("slice_thickness") == "SliceThickness"
    assert keywords.nearest("xq") is None
