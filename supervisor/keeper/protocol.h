// What the supervisor and the keeper say to each other: fixed-size messages over a SOCK_SEQPACKET
// socketpair, one message per packet, at most one file descriptor beside it (SCM_RIGHTS).
//
// The supervisor asks, the keeper answers each request with the same `type` and `sequence` and
// `error` = 0 or an errno. The keeper also speaks unasked (sequence 0): ChildExited, Signal and
// Upgrade. An exit stays in the keeper's ledger until ChildAcknowledge, a signal until
// SignalAcknowledge, so that a new supervisor learns of both.
//
// Kept free of C++ library types: the keeper uses libc only. Fields and types are only ever
// appended. Each side says its version in Hello and both then use what the older one knows; a
// package upgrade makes neighbouring versions meet, in both directions:
//   1  the first
//   2  go pipe with ChildRegister, SignalAcknowledge, Alive
#pragma once

#include <cstdint>

namespace pillion::keeper {

inline constexpr std::uint32_t kProtocolMagic = 0x504b4c31;  // "PKL1"
inline constexpr std::uint16_t kProtocolVersion = 2;
inline constexpr std::uint16_t kProtocolVersionOldest = 1;

inline constexpr int kNameSize = 128;    // with the final zero
inline constexpr int kCgroupSize = 256;  // with the final zero
inline constexpr int kFdsMax = 512;
inline constexpr int kChildrenMax = 256;

// The environment variable that carries the number of the supervisor's end of the socketpair.
inline constexpr char kSocketVariable[] = "PILLION_KEEPER_FD";
// For tests of neighbouring versions: the version that a keeper, or a supervisor, speaks instead of
// its newest. A keeper drops both when it is replaced; what replaces it may say them anew.
inline constexpr char kKeeperVersionVariable[] = "PILLION_KEEPER_PROTOCOL";
inline constexpr char kSupervisorVersionVariable[] = "PILLION_SUPERVISOR_PROTOCOL";

enum class MessageType : std::uint16_t {
  Hello = 1,  // → version; ← value = times the supervisor was restarted, pid = keeper's pid
  FdPut,      // → name, fd; replaces a stored fd of that name
  FdGet,      // → name; ← fd, or ENOENT
  FdList,     // → value = index; ← name, or ENOENT past the end
  FdRemove,   // → name
  // → name, generation, cgroup; before clone. ← value = record id. The descriptor beside it is the
  // write end of a pipe on which the child waits: ChildSpawned writes one byte to it. Without that
  // byte the child ends, so nothing ever runs that the ledger does not name.
  ChildRegister,
  ChildSpawned,      // → value = record id, pid, start_time; after clone
  ChildList,         // → value = index; ← one record, or ENOENT past the end
  ChildAcknowledge,  // → value = record id: forget this record
  Finish,            // → value = exit code; the keeper exits with it once the supervisor is gone
  ChildExited,       // unasked: value = record id, pid, wait_status
  Signal,            // unasked: value = signal number, generation = serial number of the signal
  // → value = 0: check that the program which would replace the keeper can continue from its state;
  // the verdict comes unasked, error = 0 or an errno. → value = 1: when this supervisor has ended,
  // the keeper executes its program anew, and that starts the new supervisor. The descriptor beside
  // it is the executable of this supervisor, to go back to. Unasked with value = 1: it failed.
  Upgrade,
  SignalAcknowledge,  // → value = serial number: this signal needs no repetition
  Alive,              // → value = seconds after which a silent supervisor counts as hung
};

enum class ChildState : std::uint32_t { Pending = 1, Running, Exited };

struct Message {
  std::uint32_t magic = kProtocolMagic;
  std::uint16_t version = kProtocolVersion;
  MessageType type = MessageType::Hello;
  std::uint32_t sequence = 0;
  std::int32_t error = 0;
  std::int64_t value = 0;
  std::int64_t generation = 0;
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;    // field 22 of /proc/PID/stat
  std::uint64_t exit_time_ns = 0;  // CLOCK_BOOTTIME when the keeper reaped it
  std::int32_t wait_status = 0;    // as waitpid reports it; valid in state Exited
  ChildState state = ChildState::Pending;
  char name[kNameSize] = {};
  char cgroup[kCgroupSize] = {};
};
static_assert(sizeof(Message) == 64 + kNameSize + kCgroupSize, "the wire format has no padding");

}  // namespace pillion::keeper
