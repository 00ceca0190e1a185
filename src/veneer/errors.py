"""Every error that a person or a file can cause; each says where, what was found, what is allowed, what to do."""


class VeneerError(Exception):
    """The root of Veneer's errors: the command line prints its message and exits with status 2."""


class StudyError(VeneerError):
    """The study file, or a file that it names, is not as it must be."""


class StoreError(VeneerError):
    """An artefact on disk is damaged or cannot be written."""


class DataError(VeneerError):
    """A row of data (queries, items, recordings) is malformed."""


class ModelError(VeneerError):
    """A model cannot be loaded or cannot do what is asked of it."""


class BudgetError(VeneerError):
    """The study's spend cap would be passed; what was answered is kept."""


class PreflightError(VeneerError):
    """A model would be broken by its own set-up: training or scoring it would measure the fault."""


class CellsError(VeneerError):
    """One or more cells of a stage failed; the others are finished and kept."""


class SandboxError(VeneerError):
    """No sandbox can be made for programs that models wrote, or one broke by no doing of its program."""
