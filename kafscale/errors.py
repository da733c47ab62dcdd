"""
What can go wrong, and Kafka's code for it.

Every room raises what is defined here, and knows no code: `code_of` alone
turns an exception into the number that a response carries. An exception that
it does not know is a defect of the broker, and UNKNOWN_SERVER_ERROR to the
client.

The names are Kafka's, in CamelCase; the docstring is what a client is told when
the one who raised it said nothing more precise. Most of this module is a table,
two lines to an error, to be looked up at a glance.
"""

from __future__ import annotations

import re
from typing import ClassVar

NONE = 0
"""The code of success; no exception has it."""


class KafkaError(Exception):
    """
    A failure that has a code of its own in Kafka's protocol.

    @cvar code: The number in a response.
    @cvar name: Kafka's name for it, as in C{OFFSET_OUT_OF_RANGE}.
    @cvar retriable: Whether a client that sends the same again may succeed.
    """

    code: ClassVar[int] = -1
    name: ClassVar[str] = "UNKNOWN_SERVER_ERROR"
    retriable: ClassVar[bool] = False

    def __init_subclass__(cls, code: int | None = None, retriable: bool = False) -> None:
        """
        A subclass with C{code} is the error of that code; without, a finer
        kind of the error that it extends.
        """
        super().__init_subclass__()
        if code is None:
            return
        if code in BY_CODE:
            raise ValueError(f"{cls.__name__}: code {code} is taken by {BY_CODE[code].__name__}")
        cls.code = code
        cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()
        cls.retriable = retriable
        BY_CODE[code] = cls


BY_CODE: dict[int, type[KafkaError]] = {}
"""The error of each code."""


# fmt: off
class UnknownServerError(KafkaError, code=-1):
    """The broker failed in a way that it did not expect."""
class OffsetOutOfRange(KafkaError, code=1):
    """The offset is not between the log's start and its end."""
class CorruptMessage(KafkaError, code=2, retriable=True):
    """The records do not match their checksum, their length or their format."""
class UnknownTopicOrPartition(KafkaError, code=3, retriable=True):
    """The topic or partition does not exist here."""
class InvalidFetchSize(KafkaError, code=4):
    """The number of bytes to fetch is not valid."""
class LeaderNotAvailable(KafkaError, code=5, retriable=True):
    """The partition has no leader at the moment."""
class NotLeaderOrFollower(KafkaError, code=6, retriable=True):
    """This broker does not lead the partition."""
class RequestTimedOut(KafkaError, code=7, retriable=True):
    """What was asked for was not done in time."""
class BrokerNotAvailable(KafkaError, code=8):
    """The broker is not there."""
class ReplicaNotAvailable(KafkaError, code=9, retriable=True):
    """The replica is not there."""
class MessageTooLarge(KafkaError, code=10):
    """The batch is larger than the topic's max.message.bytes."""
class StaleControllerEpoch(KafkaError, code=11):
    """A newer controller has taken over."""
class OffsetMetadataTooLarge(KafkaError, code=12):
    """The metadata kept beside an offset is too long."""
class NetworkException(KafkaError, code=13, retriable=True):
    """The connection ended before the answer came."""
class CoordinatorLoadInProgress(KafkaError, code=14, retriable=True):
    """The coordinator is still loading its groups."""
class CoordinatorNotAvailable(KafkaError, code=15, retriable=True):
    """There is no coordinator at the moment."""
class NotCoordinator(KafkaError, code=16, retriable=True):
    """This broker does not coordinate the group or transaction."""
class InvalidTopicException(KafkaError, code=17):
    """The topic's name is not valid, or it is an internal topic."""
class RecordListTooLarge(KafkaError, code=18):
    """The batches together are larger than a segment may be."""
class NotEnoughReplicas(KafkaError, code=19, retriable=True):
    """Fewer replicas are in sync than the topic demands."""
class NotEnoughReplicasAfterAppend(KafkaError, code=20, retriable=True):
    """The records were written, but to fewer replicas than the topic demands."""
class InvalidRequiredAcks(KafkaError, code=21):
    """acks is none of -1, 0 and 1."""
class IllegalGeneration(KafkaError, code=22):
    """The generation is not the group's present one."""
class InconsistentGroupProtocol(KafkaError, code=23):
    """The member's protocols or their type do not go with the group's."""
class InvalidGroupId(KafkaError, code=24):
    """The group id is not valid."""
class UnknownMemberId(KafkaError, code=25):
    """The group does not know this member."""
class InvalidSessionTimeout(KafkaError, code=26):
    """The session time-out is outside the bounds that the broker sets."""
class RebalanceInProgress(KafkaError, code=27):
    """The group is rebalancing: join again."""
class InvalidCommitOffsetSize(KafkaError, code=28):
    """The offsets to commit are too large together."""
class TopicAuthorizationFailed(KafkaError, code=29):
    """The topic may not be used in this way by this client."""
class GroupAuthorizationFailed(KafkaError, code=30):
    """The group may not be used in this way by this client."""
class ClusterAuthorizationFailed(KafkaError, code=31):
    """The cluster may not be used in this way by this client."""
class InvalidTimestamp(KafkaError, code=32):
    """A record's timestamp is out of the range that the topic accepts."""
class UnsupportedSaslMechanism(KafkaError, code=33):
    """The SASL mechanism is not offered by the broker."""
class IllegalSaslState(KafkaError, code=34):
    """The request does not belong at this point of the authentication."""
class UnsupportedVersion(KafkaError, code=35):
    """The version of the request is not served."""
class TopicAlreadyExists(KafkaError, code=36):
    """A topic of that name exists already."""
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
    """The request contradicts itself, or a value in it makes no sense."""
class UnsupportedForMessageFormat(KafkaError, code=43):
    """The format in which the records are stored does not allow this."""
class PolicyViolation(KafkaError, code=44):
    """A policy of the cluster forbids this."""
class OutOfOrderSequenceNumber(KafkaError, code=45):
    """The batch does not follow the last one of its producer."""
class DuplicateSequenceNumber(KafkaError, code=46):
    """The batch was written before."""
class InvalidProducerEpoch(KafkaError, code=47):
    """The producer's epoch is older than the one known here."""
class InvalidTxnState(KafkaError, code=48):
    """The transaction's state does not allow this."""
class InvalidProducerIdMapping(KafkaError, code=49):
    """The producer id is not that of the transactional id."""
class InvalidTransactionTimeout(KafkaError, code=50):
    """The transaction's time-out is longer than the broker allows."""
class ConcurrentTransactions(KafkaError, code=51, retriable=True):
    """Another change of the same transaction is under way."""
class TransactionCoordinatorFenced(KafkaError, code=52):
    """A newer coordinator of the transaction has taken over."""
class TransactionalIdAuthorizationFailed(KafkaError, code=53):
    """The transactional id may not be used by this client."""
class SecurityDisabled(KafkaError, code=54):
    """Security features are off."""
class OperationNotAttempted(KafkaError, code=55):
    """Not attempted, as something else in the same request failed."""
class KafkaStorageError(KafkaError, code=56, retriable=True):
    """The log could not be read or written: the store did not answer."""
class LogDirNotFound(KafkaError, code=57):
    """The log directory does not exist."""
class SaslAuthenticationFailed(KafkaError, code=58):
    """Authentication failed."""
class UnknownProducerId(KafkaError, code=59):
    """Nothing is known of this producer id."""
class ReassignmentInProgress(KafkaError, code=60):
    """The partition is being reassigned already."""
class DelegationTokenAuthDisabled(KafkaError, code=61):
    """Delegation tokens are off."""
class DelegationTokenNotFound(KafkaError, code=62):
    """The delegation token does not exist."""
class DelegationTokenOwnerMismatch(KafkaError, code=63):
    """The delegation token belongs to somebody else."""
class DelegationTokenRequestNotAllowed(KafkaError, code=64):
    """Delegation tokens are not given over connections like this one."""
class DelegationTokenAuthorizationFailed(KafkaError, code=65):
    """The delegation token may not be used in this way by this client."""
class DelegationTokenExpired(KafkaError, code=66):
    """The delegation token has expired."""
class InvalidPrincipalType(KafkaError, code=67):
    """The type of the principal is not supported."""
class NonEmptyGroup(KafkaError, code=68):
    """The group still has members."""
class GroupIdNotFound(KafkaError, code=69):
    """There is no group of that id."""
class FetchSessionIdNotFound(KafkaError, code=70, retriable=True):
    """There is no fetch session of that id."""
class InvalidFetchSessionEpoch(KafkaError, code=71, retriable=True):
    """The fetch session's epoch is not the one that comes next."""
class ListenerNotFound(KafkaError, code=72, retriable=True):
    """The leader has no listener of the kind that was asked through."""
class TopicDeletionDisabled(KafkaError, code=73):
    """Deleting topics is off."""
class FencedLeaderEpoch(KafkaError, code=74, retriable=True):
    """The leader epoch is older than the partition's."""
class UnknownLeaderEpoch(KafkaError, code=75, retriable=True):
    """The leader epoch is newer than the one known here."""
class UnsupportedCompressionType(KafkaError, code=76):
    """The compression of the records is not supported in this version."""
class StaleBrokerEpoch(KafkaError, code=77):
    """The broker has registered anew since."""
class OffsetNotAvailable(KafkaError, code=78, retriable=True):
    """The leader does not know its high watermark yet."""
class MemberIdRequired(KafkaError, code=79):
    """Join again with the member id that is given here."""
class PreferredLeaderNotAvailable(KafkaError, code=80, retriable=True):
    """The preferred leader is not there."""
class GroupMaxSizeReached(KafkaError, code=81):
    """The group has as many members as it may have."""
class FencedInstanceId(KafkaError, code=82):
    """Another member has taken over this group instance id."""
class EligibleLeadersNotAvailable(KafkaError, code=83, retriable=True):
    """No replica that may lead the partition is there."""
class ElectionNotNeeded(KafkaError, code=84, retriable=True):
    """The partition has the leader that it should have."""
class NoReassignmentInProgress(KafkaError, code=85):
    """The partition is not being reassigned."""
class GroupSubscribedToTopic(KafkaError, code=86):
    """The group still subscribes to the topic."""
class InvalidRecord(KafkaError, code=87):
    """A record is not valid, and its batch was refused."""
class UnstableOffsetCommit(KafkaError, code=88, retriable=True):
    """Offsets of a transaction that is still open stand in the way."""
class ThrottlingQuotaExceeded(KafkaError, code=89, retriable=True):
    """A quota is used up."""
class ProducerFenced(KafkaError, code=90):
    """A newer producer has the same transactional id."""
class ResourceNotFound(KafkaError, code=91):
    """What was asked for does not exist."""
class DuplicateResource(KafkaError, code=92):
    """The same thing was named twice."""
class UnacceptableCredential(KafkaError, code=93):
    """The credential does not meet what is demanded of it."""
class InconsistentVoterSet(KafkaError, code=94):
    """The voters differ between sender and receiver."""
class InvalidUpdateVersion(KafkaError, code=95):
    """The version of the update is not valid."""
class FeatureUpdateFailed(KafkaError, code=96):
    """The finalized features could not be changed."""
class PrincipalDeserializationFailure(KafkaError, code=97):
    """The principal could not be read from the envelope."""
class SnapshotNotFound(KafkaError, code=98):
    """The snapshot does not exist."""
class PositionOutOfRange(KafkaError, code=99):
    """The position is outside the snapshot."""
class UnknownTopicId(KafkaError, code=100, retriable=True):
    """There is no topic of that id."""
class DuplicateBrokerRegistration(KafkaError, code=101):
    """The broker's id is registered by another one."""
class BrokerIdNotRegistered(KafkaError, code=102):
    """The broker is not registered."""
class InconsistentTopicId(KafkaError, code=103, retriable=True):
    """The topic's id is not the one that the log has."""
class InconsistentClusterId(KafkaError, code=104):
    """The cluster's id is another one."""
class TransactionalIdNotFound(KafkaError, code=105):
    """There is no transaction of that id."""
class FetchSessionTopicIdError(KafkaError, code=106, retriable=True):
    """The fetch session mixes topic names and topic ids."""
class IneligibleReplica(KafkaError, code=107):
    """The replica may not join those in sync."""
class NewLeaderElected(KafkaError, code=108):
    """The partition's leader was changed by the request, as it asked."""
class OffsetMovedToTieredStorage(KafkaError, code=109):
    """The offset is in tiered storage only."""
class FencedMemberEpoch(KafkaError, code=110):
    """The member's epoch is not the present one: join again."""
class UnreleasedInstanceId(KafkaError, code=111):
    """The group instance id is still held by another member."""
class UnsupportedAssignor(KafkaError, code=112):
    """The assignor, or its version, is not supported by the group."""
class StaleMemberEpoch(KafkaError, code=113):
    """The member's epoch is old: use the one of the last heartbeat."""
class MismatchedEndpointType(KafkaError, code=114):
    """The endpoint is not of the kind that the request names."""
class UnsupportedEndpointType(KafkaError, code=115):
    """The kind of endpoint is not known here."""
class UnknownControllerId(KafkaError, code=116):
    """There is no controller of that id."""
class UnknownSubscriptionId(KafkaError, code=117):
    """There is no telemetry subscription of that id."""
class TelemetryTooLarge(KafkaError, code=118):
    """The telemetry is larger than the broker takes."""
class InvalidRegistration(KafkaError, code=119):
    """The controller finds the broker's registration not valid."""
class TransactionAbortable(KafkaError, code=120):
    """The transaction met an error that it does not survive: abort it."""
class InvalidRecordState(KafkaError, code=121):
    """The record's state in the share group does not allow this."""
class ShareSessionNotFound(KafkaError, code=122, retriable=True):
    """There is no share session of that id."""
class InvalidShareSessionEpoch(KafkaError, code=123, retriable=True):
    """The share session's epoch is not the one that comes next."""
class FencedStateEpoch(KafkaError, code=124):
    """The share group's state epoch is old."""
class InvalidVoterKey(KafkaError, code=125):
    """The voter's key is not the one that is known."""
class DuplicateVoter(KafkaError, code=126):
    """The voter is one already."""
class VoterNotFound(KafkaError, code=127):
    """The voter is none."""
class InvalidRegularExpression(KafkaError, code=128):
    """The regular expression is not valid."""
class RebootstrapRequired(KafkaError, code=129):
    """What the client knows of the cluster is too old: bootstrap again."""
class StreamsInvalidTopology(KafkaError, code=130):
    """The topology of the streams group is not valid."""
class StreamsInvalidTopologyEpoch(KafkaError, code=131):
    """The epoch of the streams group's topology is not valid."""
class StreamsTopologyFenced(KafkaError, code=132):
    """The topology of the streams group is old."""
class ShareSessionLimitReached(KafkaError, code=133, retriable=True):
    """There are as many share sessions as there may be."""
# fmt: on


class StoreError(Exception):
    """An object store or metadata store did not do what it was asked for."""


class StoreUnavailable(StoreError):
    """
    The store did not answer, or said "later": what was asked for may have
    been done, may be done yet, or not at all.
    """


class StoreBusy(StoreUnavailable):
    """The store said that it is asked too much."""


class StoreContended(StoreUnavailable):
    """The store was asked for the same by several at once, and did nothing."""


class MetadataRolledBack(StoreUnavailable):
    """
    The metadata store is behind a revision that it had reported: it was
    restored from a backup, or has lost its data. Nothing that it says can be
    trusted, and repeating a request does not help.

    @ivar here: Its revision now.
    @ivar seen: The revision that it had reported before.
    """

    def __init__(self, here: int, seen: int) -> None:
        super().__init__(f"the metadata store is at revision {here}, and was at {seen} before")
        self.here = here
        self.seen = seen


class ObjectExists(StoreError):
    """An object of that key is there already, and stays as it is."""


class NoSuchObject(StoreError):
    """There is no object of that key."""


class CommitConflict(StoreError):
    """A compare of a commit did not hold, and nothing was changed."""


class SettingError(Exception):
    """A setting cannot be used; one line that tells the user why."""


def code_of(exception: BaseException) -> int:
    """
    The code by which a response tells of C{exception}; -1 for the unexpected.
    """
    return _error_of(exception).code


def message_of(exception: BaseException) -> str:
    """
    What a response may tell a client of C{exception}: the words of whoever
    raised a `KafkaError`, else the meaning of its code. The words of other
    exceptions stay in the log: they are about the broker's inside.
    """
    if isinstance(exception, KafkaError) and exception.args:
        return str(exception)
    error = _error_of(exception)
    return error.__doc__ or error.name


def retriable(code: int) -> bool:
    """
    Whether a client may succeed by sending again what was answered with C{code}.
    """
    error = BY_CODE.get(code)
    return error is not None and error.retriable


def _error_of(exception: BaseException) -> type[KafkaError]:
    """
    The error as which C{exception} is answered.
    """
    if isinstance(exception, KafkaError):
        return type(exception)
    if isinstance(exception, StoreUnavailable):
        return KafkaStorageError
    return UnknownServerError
