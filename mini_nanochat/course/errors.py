"""The one exception that speaks to a learner: its message is shown alone, without a traceback."""


class CourseError(Exception):
    """Something a learner can mend. The message says what came, what was wanted and what to do."""
