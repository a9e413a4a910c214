// Sending and receiving one Message, with at most one file descriptor, on the socketpair between
// supervisor and keeper. Used by both ends; libc only.
#pragma once

#include "supervisor/keeper/protocol.h"

namespace pillion::keeper {

// 0 or an errno (EAGAIN on a full non-blocking socket). `fd` -1 = none; it stays the caller's.
int send_message(int socket, const Message& message, int fd);

// 0, EAGAIN, ECONNRESET at end of file, or EBADMSG for a packet of another size or magic. `*fd` is
// -1 or a close-on-exec descriptor that the caller owns. Names come back zero-terminated.
int receive_message(int socket, Message* message, int* fd);

}  // namespace pillion::keeper
