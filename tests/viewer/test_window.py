"""Windows decide what is black and what is white."""

import numpy as np
import pytest

from researchpacs.errors import InvalidInputError
from researchpacs.viewer import Window
from researchpacs.viewer._window import CT_PRESETS, as_window, automatic, displayed, presets


def test_grey_rises_from_black_at_the_lower_end_to_white_at_the_upper():
    """PS3.3 C.11.2.1.3.2, LINEAR_EXACT."""
    window = Window(center=40, width=400)
    assert displayed(np.array([-500, -160, 40, 240, 900]), window).tolist() == [0, 0, 128, 255, 255]
    assert displayed(np.array([-500, -160, 40, 240, 900]), window, inverted=True).tolist() == [255, 255, 128, 0, 0]


def test_a_window_narrower_than_one_still_has_greys():
    assert displayed(np.array([0.1, 0.3, 0.5]), Window(0.3, 0.4)).tolist() == [0, 128, 255]


@pytest.mark.parametrize("inverted", [False, True])
def test_what_is_not_a_number_is_black(inverted):
    assert displayed(np.array([np.nan]), Window(0, 1), inverted=inverted).tolist() == [0]


@pytest.mark.parametrize(("center", "width"), [(0, 0), (0, -1), (np.nan, 10), (0, np.inf)])
def test_a_window_without_a_width_is_refused(center, width):
    with pytest.raises(InvalidInputError, match="width above zero"):
        Window(center, width)


def test_a_ct_opens_with_soft_tissue_and_offers_the_others_by_name():
    offered = presets("CT", np.zeros((2, 2)))
    assert next(iter(offered)) == "soft tissue"
    assert as_window(" Lung ", offered) == CT_PRESETS["lung"]
    with pytest.raises(InvalidInputError, match=r"no window 'lungs'.*'lung'"):
        as_window("lungs", offered)


def test_an_mr_opens_between_its_darkest_and_brightest_percent():
    values = np.append(np.arange(1000.0), [1e6, np.nan])
    window = presets("MR", values)["auto"]
    assert window.lower == pytest.approx(np.percentile(np.append(np.arange(1000.0), 1e6), 1))
    assert window.upper == pytest.approx(np.percentile(np.append(np.arange(1000.0), 1e6), 99))


def test_a_pet_starts_at_zero():
    assert automatic("PT", np.linspace(0, 20, 1000)).lower == 0


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.zeros(5), np.full(5, 7.0), np.zeros(0)])
def test_a_volume_without_contrast_has_a_window_all_the_same(values):
    assert automatic("MR", values).width > 0
