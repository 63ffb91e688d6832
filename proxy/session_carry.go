package proxy

import (
	"net/http"
	"sync"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/loop"
	"sidecar/session"
)

// Carriers carry sessions over clients' WebSockets, for one protocol on one route.
// What the protocol makes of messages is in a Codec.
type Carriers struct {
	// Heartbeat is by WebSocket pings. Zero: none, as where the protocol has its own.
	Heartbeat heartbeat.Policy
	Limits    Limits   // zero fields mean the defaults; Message is of one WebSocket message
	Live      *Live    // where connections are found by a drain; not nil
	Observer  Observer // nil: nobody
	// Loops are where idle connections wait without a goroutine. They must run until
	// none of Live is left. Nil: each keeps one.
	Loops *loop.Group

	once  sync.Once
	terms *hopTerms
}

// A Codec is what a protocol does with one client's WebSocket. Receive, Next with
// Written, and Gone may be called at the same time as each other.
type Codec interface {
	// Receive has a message of the client's, in order, whose data is only lent. The
	// client is not read meanwhile, but also not probed: so a slow backend is felt by
	// it. A Close that is returned ends the connection. Answers are for Next: a client
	// that takes none may still send, and what waits for it must have a bound.
	Receive(m session.Message) *session.Close
	// Next has what is to be written now, appended to buf, and after it a close
	// that ends the connection. After Wake it is called until there is nothing, maybe
	// once more after Gone. It must not wait. buf is lent, and cleared behind Written;
	// until then the data must stay as it is.
	Next(buf []session.Message) ([]session.Message, *session.Close)
	// Written says that the socket has taken all that Next returned. It is not called
	// after a write that failed: what became of those messages is unknown.
	Written()
	// Gone is called once, in the end, with the client's close or what stands for
	// it: 1006 if none came, or what it broke. It should not wait for long: the
	// socket is kept until it returns, though cut after a second.
	Gone(c session.Close)
}

// A Carrier is one client's WebSocket, from Accept until Codec.Gone.
type Carrier struct {
	hop   hop
	codec Codec
}

// Upgradable answers a request that is no proper handshake, and reports whether it
// was one. The Origin check is the caller's, beforehand.
func Upgradable(w http.ResponseWriter, r *http.Request) bool {
	bad := checkUpgrade(r)
	if bad == nil {
		return true
	}
	w.Header().Set("Connection", "close") // nothing behind it is to be read as a request
	w.Header().Set("Sec-WebSocket-Version", "13")
	(&access.Refusal{Status: bad.status, Reason: "handshake", Text: bad.text}).ServeHTTP(w, r)
	return false
}

// Accept takes the client's connection over. header goes with the answer, and
// names the chosen subprotocol if there is one; no extension is agreed. After an
// error the client was answered, or has gone. The codec is not called before Start.
func (s *Carriers) Accept(w http.ResponseWriter, r *http.Request, header http.Header) (*Carrier, error) {
	s.once.Do(func() { s.terms = newTerms(client, s.Heartbeat, s.Limits, s.Observer).on(s.Loops) })
	c := &Carrier{}
	if err := c.hop.accept(w, r, header, s.terms); err != nil {
		return nil, err
	}
	c.hop.live = s.Live
	return c, nil
}

// Start begins to read the client. It returns at once.
func (c *Carrier) Start(codec Codec) {
	c.codec = codec
	c.hop.start(c, c.hop.live, c)
}

// Drop ends a connection that is not to be started.
func (c *Carrier) Drop() { c.hop.stream.Close() }

// Wake says that Codec.Next has something to say. It does not wait, and calls
// nothing: it may be a session.Reader's wake, also before Start.
func (c *Carrier) Wake() { c.hop.wake() }

// Close begins to close the connection, behind what Next has to say, and gives the
// client a second to answer. It does not wait, and may be called again: the first
// code counts. One that may stand in no frame, as 1006, becomes 1011.
func (c *Carrier) Close(why session.Close) { c.hop.hangUp(why, closeGrace) }

func (c *Carrier) receive(m session.Message) (bool, *fault) {
	if bad := c.codec.Receive(m); bad != nil {
		return true, &fault{bad.Code, bad.Reason}
	}
	return true, nil
}

// batches are lent to Codec.Next.
var batches = sync.Pool{New: func() any { return new([]session.Message) }}

// keptBatch is up to how many messages' room is kept for another batch.
const keptBatch = 256

// pour writes one batch; what else is pending goes between two.
func (c *Carrier) pour() (more bool, err error) {
	room := batches.Get().(*[]session.Message)
	all, end := c.codec.Next(*room)
	defer func() {
		clear(all)
		if n := cap(all); n > cap(*room) && n <= keptBatch {
			*room = all[:0]
		}
		batches.Put(room)
	}()
	if len(all) > 0 {
		if err := c.hop.putAll(all); err != nil {
			return false, err
		}
		c.codec.Written()
	}
	if end != nil {
		c.Close(*end)
	}
	return len(all) > 0 && end == nil, nil
}

func (c *Carrier) ended(why session.Close) { c.codec.Gone(why) }

func (c *Carrier) start([]byte) {}

func (c *Carrier) shutdown(code int, reason string) {
	c.Close(session.Close{Code: code, Reason: reason})
}

func (c *Carrier) cut() { c.hop.cut() }
