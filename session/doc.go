// Package session is the ordered, bounded, resumable core that the fallback
// protocols share: one client to one backend connection, on whatever carriers.
//
// Sessions is the table of all; Open puts a Session into it, Find finds it again
// for the identity that opened it, or says why it has ended.
//
// A session knows no transport and starts no goroutine. Three kinds of callers
// stand around it:
//
//   - Whoever reads the client, be it frames or POSTs, calls Send. It removes what
//     came before, keeps the order, and returns once the backend's socket has the
//     messages: only then are they acknowledged. There is no queue; a slow backend
//     is felt by the client.
//   - Whoever reads the backend calls Deliver, which keeps the message until the
//     client has acknowledged it, and says whether there is room for another.
//     Backend.Room says that there is again. DeliverClose comes behind the last.
//   - A carrier has a Reader. Its wake says that there is something to Take; it
//     takes until nothing is left, and writes. So each client connection has one
//     writer, which is also the one for heartbeats, and no lock is held meanwhile.
//
// Two kinds of protocol fit. One acknowledges by number, and resumes: a new carrier
// takes the old one's place by Resume, or by Replace where both work for a while.
// The other has no numbers on the wire: carriers come one after the other by
// Attach, and what was written is acknowledged by whoever wrote it.
//
// A session whose client is away, or has the backend's close to acknowledge, ends
// when it was not heard of for Settings.TTL; coming back, sending and acknowledging
// all count. The end comes once, by whatever comes first, and Ended tells why.
//
// Left out on purpose: heartbeats, tokens, fragments and what is written on the
// wire are the protocols' own; dialling is the backend's; so is every deadline but
// TTL. Close codes for clients are not derived from reasons: each protocol has its
// own. Sessions live in memory, in one process.
package session
