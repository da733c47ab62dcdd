"""
Tests of `kafscale.errors`.
"""

from __future__ import annotations

from kio.schema.errors import ErrorCode
from twisted.trial.unittest import SynchronousTestCase

from kafscale import errors
from kafscale.errors import KafkaError

#: Errors of Kafka 4.3 and 4.4, which kio does not have yet. None is retriable.
NEWER = {
    134: "GROUP_DELETION_FAILED",
    135: "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED",
    136: "CONTROLLER_ID_NOT_REGISTERED",
}


class TableTests(SynchronousTestCase):
    """
    The table of errors agrees with Kafka's.
    """

    def test_first_error_and_names(self) -> None:
        """
        The table has each of Kafka's errors, with its code and name.
        """
        ours = {code: error.name for code, error in errors.BY_CODE.items()}
        kafkas = {int(code): code.name.upper() for code in ErrorCode if code != ErrorCode.none}
        self.assertEqual(ours, kafkas | NEWER)

    def test_class_names(self) -> None:
        """
        A class has the name of its error in CamelCase, and can be imported by it.
        """
        for error in errors.BY_CODE.values():
            camel = "".join(word.capitalize() for word in error.name.split("_"))
            self.assertIs(getattr(errors, camel), error)

    def test_retriable(self) -> None:
        """
        The same errors are retriable as in Kafka.
        """
        for code in ErrorCode:
            self.assertEqual(errors.retriable(code), code.retriable, code)
        for other in (*NEWER, 4711):
            self.assertFalse(errors.retriable(other))

    def test_meanings(self) -> None:
        """
        Each meaning is one short line, and all meanings differ.
        """
        meanings = [error.__doc__ or "" for error in errors.BY_CODE.values()]
        self.assertEqual(len(set(meanings)), len(meanings))
        for meaning in meanings:
            self.assertRegex(meaning, r"\A\S[^\n]{10,90}\.\Z")

    def test_code_is_taken_once(self) -> None:
        """
        Two errors cannot have the same code.
        """
        with self.assertRaises(ValueError):
            type("Other", (KafkaError,), {}, code=1)


class CodeTests(SynchronousTestCase):
    """
    Exceptions are mapped to codes.
    """

    def test_kafka_error(self) -> None:
        """
        An error has its own code.
        """
        self.assertEqual(errors.code_of(errors.OffsetOutOfRange()), 1)

    def test_finer_kind(self) -> None:
        """
        A subclass without a code has the code of its base class.
        """

        class Fenced(errors.NotLeaderOrFollower):
            """
            Another broker has taken over.
            """

        self.assertEqual(errors.code_of(Fenced()), 6)
        self.assertEqual(Fenced.name, "NOT_LEADER_OR_FOLLOWER")
        self.assertIs(errors.BY_CODE[6], errors.NotLeaderOrFollower)

    def test_store(self) -> None:
        """
        A store that does not respond is KAFKA_STORAGE_ERROR. Other errors of stores
        never reach clients as such.
        """
        self.assertEqual(errors.code_of(errors.StoreUnavailable("503")), 56)
        self.assertEqual(errors.code_of(errors.CommitConflict()), -1)

    def test_unknown(self) -> None:
        """
        Any other exception is UNKNOWN_SERVER_ERROR.
        """
        self.assertEqual(errors.code_of(ZeroDivisionError()), -1)


class MessageTests(SynchronousTestCase):
    """
    Exceptions are mapped to messages for clients.
    """

    def test_own_words(self) -> None:
        """
        The message of an error is passed on.
        """
        error = errors.InvalidConfig("retention.ms: -7 is below -1")
        self.assertEqual(errors.message_of(error), "retention.ms: -7 is below -1")

    def test_meaning(self) -> None:
        """
        An error without a message has the meaning of its code.
        """
        self.assertEqual(
            errors.message_of(errors.InvalidGroupId()), "The group id is not valid."
        )

    def test_discretion(self) -> None:
        """
        Messages of unexpected exceptions and of stores are not for clients.
        """
        for error in (ValueError("secret"), errors.StoreUnavailable("key AKIA...")):
            self.assertNotIn("secret", errors.message_of(error))
            self.assertNotIn("AKIA", errors.message_of(error))


class ReasonTests(SynchronousTestCase):
    """
    Reasons in lines of the log.
    """

    def test_expected(self) -> None:
        """
        Errors of the stores and of Kafka have a message, or at least a name.
        """
        why = "http://127.0.0.1:9000/logs: no progress for 10 s"
        for error, reason in (
            (errors.StoreBusy(why), why),
            (errors.CommitConflict(), "CommitConflict"),
            (errors.NotLeaderOrFollower("this broker was replaced"), "this broker was replaced"),
            (errors.RequestTimedOut(), "RequestTimedOut"),
        ):
            self.assertEqual(errors.reason_in_log(error), reason)

    def test_defect(self) -> None:
        """
        All others are defects of the broker: their tracebacks are logged.
        """
        try:
            1 / 0  # noqa: B018 - raises
        except ZeroDivisionError as error:
            reason = errors.reason_in_log(error)
        self.assertRegex(reason, r"(?s)\ATraceback .*test_errors.py.*ZeroDivisionError: .*[^\n]\Z")


class AboutTests(SynchronousTestCase):
    """
    The name of a setting in an error about a file.
    """

    def test_named(self) -> None:
        """
        The name comes first. Other errors pass.
        """
        with (
            self.assertRaisesRegex(errors.SettingError, r"\AKAFSCALE_X: cannot read a: why\Z"),
            errors.about("KAFSCALE_X"),
        ):
            raise errors.SettingError("cannot read a: why")
        with self.assertRaisesRegex(ValueError, r"\Aother\Z"), errors.about("KAFSCALE_X"):
            raise ValueError("other")
