"""
Errors, and their codes in Kafka's protocol.

All rooms raise these exceptions and do not use codes. L{code_of} alone maps an
exception to the code in a response. An exception that it does not know is a
defect of the broker, which clients see as UNKNOWN_SERVER_ERROR.

Codes and names are those of C{org.apache.kafka.common.protocol.Errors}, the
names in CamelCase. The docstring of an error is the message for clients if it
was raised without one. Most of the module is a table, two lines for an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_exception
from typing import ClassVar

NONE = 0
"""The code of success, which no exception has."""


class KafkaError(Exception):
    """
    An error with a code in Kafka's protocol.

    @cvar code: The number in a response.
    @cvar name: Kafka's name, e.g. C{OFFSET_OUT_OF_RANGE}.
    @cvar retriable: Whether a retry of the same request may succeed.
    """

    code: ClassVar[int] = -1
    name: ClassVar[str] = "UNKNOWN_SERVER_ERROR"
    retriable: ClassVar[bool] = False

    def __init_subclass__(cls, code: int | None = None, retriable: bool = False) -> None:
        """
        Register the subclass.

        @param code: Its code; None: that of its base class, of which it is a special
            case.
        @param retriable: Whether a retry of the same request may succeed.
        @raise ValueError: another error has this code.
        """
        super().__init_subclass__()
        if code is None:
            return
        if code in BY_CODE:
            raise ValueError(f"{cls.__name__}: code {code} belongs to {BY_CODE[code].__name__}")
        cls.code = code
        cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()
        cls.retriable = retriable
        BY_CODE[code] = cls


BY_CODE: dict[int, type[KafkaError]] = {}
"""The error of each code."""


# fmt: off
class UnknownServerError(KafkaError, code=-1):
    """An unexpected error occurred in the broker."""
class OffsetOutOfRange(KafkaError, code=1):
    """The offset is outside the log of the partition."""
class CorruptMessage(KafkaError, code=2, retriable=True):
    """The records do not match their checksum, their length or their format."""
class UnknownTopicOrPartition(KafkaError, code=3, retriable=True):
    """The topic or partition does not exist on this broker."""
class InvalidFetchSize(KafkaError, code=4):
    """The number of bytes to fetch is not valid."""
class LeaderNotAvailable(KafkaError, code=5, retriable=True):
    """The partition has no leader at present."""
class NotLeaderOrFollower(KafkaError, code=6, retriable=True):
    """This broker does not lead the partition."""
class RequestTimedOut(KafkaError, code=7, retriable=True):
    """The request timed out before it was complete."""
class BrokerNotAvailable(KafkaError, code=8):
    """The broker is not available."""
class ReplicaNotAvailable(KafkaError, code=9, retriable=True):
    """The replica is not available."""
class MessageTooLarge(KafkaError, code=10):
    """The batch is larger than the topic's max.message.bytes."""
class StaleControllerEpoch(KafkaError, code=11):
    """A newer controller has taken over."""
class OffsetMetadataTooLarge(KafkaError, code=12):
    """The metadata of a committed offset is too long."""
class NetworkException(KafkaError, code=13, retriable=True):
    """The connection closed before the response arrived."""
class CoordinatorLoadInProgress(KafkaError, code=14, retriable=True):
    """The coordinator is still loading its groups."""
class CoordinatorNotAvailable(KafkaError, code=15, retriable=True):
    """The coordinator is not available at present."""
class NotCoordinator(KafkaError, code=16, retriable=True):
    """This broker does not coordinate the group or transaction."""
class InvalidTopicException(KafkaError, code=17):
    """The topic name is not valid, or the topic is an internal one."""
class RecordListTooLarge(KafkaError, code=18):
    """The batches together are larger than a segment can be."""
class NotEnoughReplicas(KafkaError, code=19, retriable=True):
    """Fewer replicas are in sync than min.insync.replicas requires."""
class NotEnoughReplicasAfterAppend(KafkaError, code=20, retriable=True):
    """The records were written, but to fewer replicas than min.insync.replicas."""
class InvalidRequiredAcks(KafkaError, code=21):
    """acks must be -1, 0 or 1."""
class IllegalGeneration(KafkaError, code=22):
    """The generation is not the current one of the group."""
class InconsistentGroupProtocol(KafkaError, code=23):
    """The member's protocols or protocol type do not match those of the group."""
class InvalidGroupId(KafkaError, code=24):
    """The group id is not valid."""
class UnknownMemberId(KafkaError, code=25):
    """The group does not have this member."""
class InvalidSessionTimeout(KafkaError, code=26):
    """The session timeout is outside the bounds of the broker."""
class RebalanceInProgress(KafkaError, code=27):
    """The group is rebalancing: join again."""
class InvalidCommitOffsetSize(KafkaError, code=28):
    """The offsets to commit are too large together."""
class TopicAuthorizationFailed(KafkaError, code=29):
    """The client is not authorized for this operation on the topic."""
class GroupAuthorizationFailed(KafkaError, code=30):
    """The client is not authorized for this operation on the group."""
class ClusterAuthorizationFailed(KafkaError, code=31):
    """The client is not authorized for this operation on the cluster."""
class InvalidTimestamp(KafkaError, code=32):
    """The timestamp of a record is outside the range that the topic accepts."""
class UnsupportedSaslMechanism(KafkaError, code=33):
    """The broker does not support the SASL mechanism."""
class IllegalSaslState(KafkaError, code=34):
    """The request is not valid in this state of the SASL authentication."""
class UnsupportedVersion(KafkaError, code=35):
    """The broker does not support this version of the API."""
class TopicAlreadyExists(KafkaError, code=36):
    """A topic with this name already exists."""
class InvalidPartitions(KafkaError, code=37):
    """The number of partitions is not valid."""
class InvalidReplicationFactor(KafkaError, code=38):
    """The replication factor is not valid."""
class InvalidReplicaAssignment(KafkaError, code=39):
    """The assignment of replicas is not valid."""
class InvalidConfig(KafkaError, code=40):
    """A configuration is unknown, or its value is not valid."""
class NotController(KafkaError, code=41, retriable=True):
    """This broker is not the controller."""
class InvalidRequest(KafkaError, code=42):
    """The request contradicts itself, or a value in it is not valid."""
class UnsupportedForMessageFormat(KafkaError, code=43):
    """The record format of the log does not support the request."""
class PolicyViolation(KafkaError, code=44):
    """The request violates a policy of the cluster."""
class OutOfOrderSequenceNumber(KafkaError, code=45):
    """The sequence number does not follow that of the producer's last batch."""
class DuplicateSequenceNumber(KafkaError, code=46):
    """A batch with this sequence number was already written."""
class InvalidProducerEpoch(KafkaError, code=47):
    """The producer epoch is older than the current one."""
class InvalidTxnState(KafkaError, code=48):
    """The state of the transaction does not allow the request."""
class InvalidProducerIdMapping(KafkaError, code=49):
    """The producer id does not belong to the transactional id."""
class InvalidTransactionTimeout(KafkaError, code=50):
    """The transaction timeout is longer than the broker allows."""
class ConcurrentTransactions(KafkaError, code=51, retriable=True):
    """Another change of the transaction is in progress."""
class TransactionCoordinatorFenced(KafkaError, code=52):
    """A newer coordinator of the transaction has taken over."""
class TransactionalIdAuthorizationFailed(KafkaError, code=53):
    """The client is not authorized to use the transactional id."""
class SecurityDisabled(KafkaError, code=54):
    """Security features are disabled."""
class OperationNotAttempted(KafkaError, code=55):
    """Not attempted, because another part of the same request failed."""
class KafkaStorageError(KafkaError, code=56, retriable=True):
    """The log could not be read or written: the store did not respond."""
class LogDirNotFound(KafkaError, code=57):
    """The log directory does not exist."""
class SaslAuthenticationFailed(KafkaError, code=58):
    """Authentication failed."""
class UnknownProducerId(KafkaError, code=59):
    """The producer id is not known."""
class ReassignmentInProgress(KafkaError, code=60):
    """A reassignment of the partition is already in progress."""
class DelegationTokenAuthDisabled(KafkaError, code=61):
    """Delegation tokens are disabled."""
class DelegationTokenNotFound(KafkaError, code=62):
    """The delegation token does not exist."""
class DelegationTokenOwnerMismatch(KafkaError, code=63):
    """The delegation token belongs to another principal."""
class DelegationTokenRequestNotAllowed(KafkaError, code=64):
    """Delegation tokens cannot be requested on this kind of connection."""
class DelegationTokenAuthorizationFailed(KafkaError, code=65):
    """The client is not authorized to use the delegation token."""
class DelegationTokenExpired(KafkaError, code=66):
    """The delegation token has expired."""
class InvalidPrincipalType(KafkaError, code=67):
    """The type of the principal is not supported."""
class NonEmptyGroup(KafkaError, code=68):
    """The group still has members."""
class GroupIdNotFound(KafkaError, code=69):
    """There is no group with this id."""
class FetchSessionIdNotFound(KafkaError, code=70, retriable=True):
    """There is no fetch session with this id."""
class InvalidFetchSessionEpoch(KafkaError, code=71, retriable=True):
    """The epoch of the fetch session is not the expected one."""
class ListenerNotFound(KafkaError, code=72, retriable=True):
    """The leader has no listener with the name that the request came through."""
class TopicDeletionDisabled(KafkaError, code=73):
    """Deletion of topics is disabled."""
class FencedLeaderEpoch(KafkaError, code=74, retriable=True):
    """The leader epoch is older than that of the partition."""
class UnknownLeaderEpoch(KafkaError, code=75, retriable=True):
    """The leader epoch is newer than that of the partition."""
class UnsupportedCompressionType(KafkaError, code=76):
    """The compression type is not supported in this version."""
class StaleBrokerEpoch(KafkaError, code=77):
    """The broker epoch is older than the broker's current registration."""
class OffsetNotAvailable(KafkaError, code=78, retriable=True):
    """The leader does not know its high watermark yet."""
class MemberIdRequired(KafkaError, code=79):
    """Join again with the member id of this response."""
class PreferredLeaderNotAvailable(KafkaError, code=80, retriable=True):
    """The preferred leader is not available."""
class GroupMaxSizeReached(KafkaError, code=81):
    """The group has reached its maximum size."""
class FencedInstanceId(KafkaError, code=82):
    """Another member has joined with the same group instance id."""
class EligibleLeadersNotAvailable(KafkaError, code=83, retriable=True):
    """No eligible leader of the partition is available."""
class ElectionNotNeeded(KafkaError, code=84, retriable=True):
    """The partition already has the leader that it should have."""
class NoReassignmentInProgress(KafkaError, code=85):
    """No reassignment of the partition is in progress."""
class GroupSubscribedToTopic(KafkaError, code=86):
    """The group is still subscribed to the topic."""
class InvalidRecord(KafkaError, code=87):
    """A record is not valid, so its batch was refused."""
class UnstableOffsetCommit(KafkaError, code=88, retriable=True):
    """Offsets of an open transaction are not stable yet."""
class ThrottlingQuotaExceeded(KafkaError, code=89, retriable=True):
    """A quota is exceeded."""
class ProducerFenced(KafkaError, code=90):
    """A newer producer uses the same transactional id."""
class ResourceNotFound(KafkaError, code=91):
    """The resource does not exist."""
class DuplicateResource(KafkaError, code=92):
    """The request names a resource twice."""
class UnacceptableCredential(KafkaError, code=93):
    """The credential does not meet the requirements."""
class InconsistentVoterSet(KafkaError, code=94):
    """The voters of sender and receiver differ."""
class InvalidUpdateVersion(KafkaError, code=95):
    """The version of the update is not valid."""
class FeatureUpdateFailed(KafkaError, code=96):
    """The finalized features could not be updated."""
class PrincipalDeserializationFailure(KafkaError, code=97):
    """The principal in the envelope could not be decoded."""
class SnapshotNotFound(KafkaError, code=98):
    """The snapshot does not exist."""
class PositionOutOfRange(KafkaError, code=99):
    """The position is outside the snapshot."""
class UnknownTopicId(KafkaError, code=100, retriable=True):
    """There is no topic with this id."""
class DuplicateBrokerRegistration(KafkaError, code=101):
    """Another broker is registered with this broker id."""
class BrokerIdNotRegistered(KafkaError, code=102):
    """The broker is not registered."""
class InconsistentTopicId(KafkaError, code=103, retriable=True):
    """The topic id does not match that of the log."""
class InconsistentClusterId(KafkaError, code=104):
    """The cluster id does not match that of the receiver."""
class TransactionalIdNotFound(KafkaError, code=105):
    """There is no transaction with this transactional id."""
class FetchSessionTopicIdError(KafkaError, code=106, retriable=True):
    """The fetch session mixes topic names and topic ids."""
class IneligibleReplica(KafkaError, code=107):
    """The replica is not eligible to join the in-sync replicas."""
class NewLeaderElected(KafkaError, code=108):
    """The leader of the partition was changed, as requested."""
class OffsetMovedToTieredStorage(KafkaError, code=109):
    """The offset is in tiered storage only."""
class FencedMemberEpoch(KafkaError, code=110):
    """The member epoch is not the current one: join again."""
class UnreleasedInstanceId(KafkaError, code=111):
    """Another member still holds the group instance id."""
class UnsupportedAssignor(KafkaError, code=112):
    """The group does not support the assignor or its version."""
class StaleMemberEpoch(KafkaError, code=113):
    """The member epoch is stale: use that of the last heartbeat."""
class MismatchedEndpointType(KafkaError, code=114):
    """The endpoint type does not match that of the request."""
class UnsupportedEndpointType(KafkaError, code=115):
    """The endpoint type is not supported."""
class UnknownControllerId(KafkaError, code=116):
    """There is no controller with this id."""
class UnknownSubscriptionId(KafkaError, code=117):
    """There is no telemetry subscription with this id."""
class TelemetryTooLarge(KafkaError, code=118):
    """The telemetry is larger than the broker accepts."""
class InvalidRegistration(KafkaError, code=119):
    """The registration of the broker is not valid."""
class TransactionAbortable(KafkaError, code=120):
    """The transaction failed in a way that requires an abort."""
class InvalidRecordState(KafkaError, code=121):
    """The state of the record in the share group does not allow this."""
class ShareSessionNotFound(KafkaError, code=122, retriable=True):
    """There is no share session with this id."""
class InvalidShareSessionEpoch(KafkaError, code=123, retriable=True):
    """The epoch of the share session is not the expected one."""
class FencedStateEpoch(KafkaError, code=124):
    """The state epoch of the share group is outdated."""
class InvalidVoterKey(KafkaError, code=125):
    """The voter key does not match that of the receiver."""
class DuplicateVoter(KafkaError, code=126):
    """The voter is already in the set of voters."""
class VoterNotFound(KafkaError, code=127):
    """The voter is not in the set of voters."""
class InvalidRegularExpression(KafkaError, code=128):
    """The regular expression is not valid."""
class RebootstrapRequired(KafkaError, code=129):
    """The metadata of the client is too old: bootstrap again."""
class StreamsInvalidTopology(KafkaError, code=130):
    """The topology of the streams group is not valid."""
class StreamsInvalidTopologyEpoch(KafkaError, code=131):
    """The epoch of the streams group's topology is not valid."""
class StreamsTopologyFenced(KafkaError, code=132):
    """The topology epoch of the streams group is outdated."""
class ShareSessionLimitReached(KafkaError, code=133, retriable=True):
    """The maximum number of share sessions is reached."""
class GroupDeletionFailed(KafkaError, code=134):
    """The group could not be deleted: the message has the reason."""
class StreamsTopologyDescriptionUpdateFailed(KafkaError, code=135):
    """The description of the streams group's topology could not be stored."""
class ControllerIdNotRegistered(KafkaError, code=136):
    """No controller is registered with this id."""
# fmt: on


class StoreError(Exception):
    """An operation of an object store or metadata store failed."""


class StoreUnavailable(StoreError):
    """
    The store did not respond, or asked for a retry later.

    The outcome is unknown: the operation may have been done, may be done later,
    or not at all.
    """


class StoreBusy(StoreUnavailable):
    """The store limits the rate of requests, and asks for fewer."""


class StoreContended(StoreUnavailable):
    """The store refused concurrent operations on the same key, and did nothing."""


class MetadataRolledBack(StoreUnavailable):
    """
    The metadata store is at a revision before one that it had reported.

    It was restored from a backup, or has lost data. Nothing that it returns can
    be relied on, and a retry does not help.

    @ivar here: The present revision.
    @ivar seen: The larger revision that it had reported before.
    """

    def __init__(self, here: int, seen: int) -> None:
        """
        @param here: The present revision.
        @param seen: The larger revision that it had reported before.
        """
        super().__init__(f"the metadata store is at revision {here}, and was at {seen} before")
        self.here = here
        self.seen = seen


class ObjectExists(StoreError):
    """An object with this key already exists, and is unchanged."""


class NoSuchObject(StoreError):
    """There is no object with this key."""


class CommitConflict(StoreError):
    """A compare of a commit failed, and nothing was changed."""


class SettingError(Exception):
    """A setting is not valid. The message is one line for the user."""


@contextmanager
def about(setting: str) -> Iterator[None]:
    """
    Name a setting in the messages of the SettingErrors that are raised within, for
    code that reads a file and does not know which setting has named it.

    @param setting: The name of the setting, or of several.
    """
    try:
        yield
    except SettingError as error:
        raise SettingError(f"{setting}: {error}") from error.__cause__


def code_of(exception: BaseException) -> int:
    """
    Return the error code of an exception for a response; -1 if it is unexpected.
    """
    return _error_of(exception).code


def message_of(exception: BaseException) -> str:
    """
    Return the error message of an exception for a response.

    It is the message of a `KafkaError`, or else the meaning of its code. Messages
    of other exceptions are not for clients, because they describe the inside of
    the broker.
    """
    if isinstance(exception, KafkaError) and exception.args:
        return str(exception)
    error = _error_of(exception)
    return error.__doc__ or error.name


def reason_in_log(exception: BaseException | None) -> str:
    """
    Return why something failed, for a line of the log.

    It is the message of a `KafkaError` or of a `StoreError`. Any other exception
    is a defect of the broker, and it is the traceback.

    @param exception: Never None, which is in the type of a C{Failure}'s value only.
    """
    if isinstance(exception, KafkaError | StoreError):
        return str(exception) or type(exception).__name__
    assert exception is not None
    return "".join(format_exception(exception)).rstrip()


def retriable(code: int) -> bool:
    """
    Whether a retry of a request that got C{code} may succeed.
    """
    error = BY_CODE.get(code)
    return error is not None and error.retriable


def _error_of(exception: BaseException) -> type[KafkaError]:
    """
    Return the class of error that clients see for an exception.
    """
    if isinstance(exception, KafkaError):
        return type(exception)
    if isinstance(exception, StoreUnavailable):
        return KafkaStorageError
    return UnknownServerError
