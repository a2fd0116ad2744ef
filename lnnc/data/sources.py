"""Where published data are: named here, fetched by nobody but the user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A published data set.

    Args:
        licence: as its page or its re-publishers state it; "see the page" where we have not read it there.
        how: how to import it.
    """

    name: str
    what: str
    page: str
    licence: str
    how: tuple[str, ...]


SOURCES = (
    Source(
        "MATR (MIT, Stanford, Toyota; Severson et al. 2019)",
        "LFP cells of 1.1 Ah under fast charging: 140 in three batch files, of which 124 are kept",
        "https://data.matr.io/1/projects/5c48dd2bc625d700019f3204",
        "CC BY 4.0",
        ("2017-05-12_batchdata_updated_struct_errorcorrect.mat", "2017-06-30_batchdata_updated_struct_errorcorrect.mat",
         "2018-04-12_batchdata_updated_struct_errorcorrect.mat", "lnnc data import 2017*.mat 2018*.mat -o matr.h5"),
    ),
    Source(
        "XJTU (Wang et al. 2024)",
        "55 NCM cells of 2.0 Ah in 6 protocols; .mat files of older versions: save the capacities as CSV or .npz",
        "https://zenodo.org/records/10963339",
        "see the page",
        ("lnnc data import xjtu.npz --nominal 2.0 --licence '...' -o xjtu.h5",),
    ),
    Source(
        "TJU (Tongji; Zhu et al. 2022)",
        "130 cells: NCA and NCM of 3.5 Ah, NCM+NCA of 2.5 Ah; CSV, one file a cell",
        "https://zenodo.org/records/6405084",
        "CC BY 4.0",
        ("lnnc data import Dataset_1_NCA_battery/ --nominal 3.5 --licence 'CC BY 4.0' -o tju_nca.h5",),
    ),
    Source(
        "HUST (Ma et al. 2022)",
        "77 LFP cells of 1.1 Ah under 77 discharge protocols; pickles: save the capacities as CSV or .npz",
        "https://data.mendeley.com/datasets/nsc7hnsg4s/2",
        "CC BY 4.0",
        ("lnnc data import hust.npz --nominal 1.1 --licence 'CC BY 4.0' -o hust.h5",),
    ),
    Source(
        "Battery Archive",
        "several studies, among them Sandia's of LFP, NCA and NMC; CSV, one *_cycle_data.csv a cell",
        "https://www.batteryarchive.org",
        "see the page",
        ("lnnc data import *_cycle_data.csv --nominal 3.0 --licence '...' -o archive.h5",),
    ),
)  # fmt: skip


def where_text() -> str:
    """Every source with its page, its licence and the command that imports it."""
    lines = ["Nothing is downloaded for you. Read the licence on the page before you use or pass on the data.", ""]
    for source in SOURCES:
        lines += [source.name, f"  {source.what}", f"  page     {source.page}", f"  licence  {source.licence}"]
        lines += [f"  {'file' if step.endswith('.mat') else 'import':8} {step}" for step in source.how]
        lines.append("")
    return "\n".join([*lines, "To try things without any of them: lnnc data synth -o synthetic.mat"])
