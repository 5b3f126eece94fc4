"""A module with a warning of its own, which nothing else imports."""


class OddWarning(Warning):
    pass
