"""Bookmarks that Redis keeps under a subject, such as a user's id, for those who carry none."""

from repocache.subjects.scripts import SUBJECT_SCRIPTS
from repocache.subjects.subjects import Subjects, SubjectState

__all__ = ["SUBJECT_SCRIPTS", "SubjectState", "Subjects"]
