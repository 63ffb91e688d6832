// Package resumable is a WebSocket client whose conversations survive: networks that let
// no WebSocket through, connections that die, machines that sleep and changes of
// network. It speaks docs/protocol.md, whose sections are named here as §, to a sidecar
// in front of any WebSocket backend, over whatever gets through: a WebSocket, a streamed
// HTTP answer with requests beside it, or long-polling; and moves between them while
// messages go on, each once and in order, both ways. Where the server is no sidecar
// it is a plain WebSocket client, and says so (Plain).
//
//	c, err := resumable.Dial(ctx, "wss://chat.example.com/room?n=1", nil)
//	if err != nil {
//		return err
//	}
//	defer c.CloseNow()
//	err = c.Write(ctx, resumable.Text, []byte("hello"))
//	typ, message, err := c.Read(ctx)
//	err = c.Close(1000, "bye")
//
// What is promised: a message that Write took reaches the backend's socket once, unchanged
// and in its place, and a message that Read returned was sent once by the backend in that
// place; or the conversation ends and Read says how: a *CloseError if it was agreed
// on, a *Gone if the session was lost. Then what Buffered counts has an unknown fate.
//
// All is bounded: what is written and not acknowledged by the server's window and one
// message, what came and was not read by Options.Window and one message, and at most
// eight carriers live at once.
package resumable
