package proxy

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// crypto/tls keeps the buffers it reads into for as long as a connection lives:
// 3.5 KiB after a handshake, 17 KiB and more after one large record. A lane lets
// them go while they are empty. They are found by name and type; where they are
// not what they were, nothing is let go, and TestTLSLetsItsBuffersGo fails.
var tlsBuffers = findTLSBuffers()

type bufferOffsets struct {
	rawInput, hand uintptr // of bytes.Buffers: records to come, handshake messages to come
	input          uintptr // of a bytes.Reader: what of a record is still to be read
	known          bool
}

func findTLSBuffers() (o bufferOffsets) {
	conn := reflect.TypeFor[tls.Conn]()
	find := func(name string, typ reflect.Type) (offset uintptr) {
		f, ok := conn.FieldByName(name)
		o.known = o.known && ok && f.Type == typ
		return f.Offset
	}
	o.known = true
	o.rawInput = find("rawInput", reflect.TypeFor[bytes.Buffer]())
	o.hand = find("hand", reflect.TypeFor[bytes.Buffer]())
	o.input = find("input", reflect.TypeFor[bytes.Reader]())
	return o
}

// letGo drops c's empty buffers. Nobody else may use c meanwhile.
func (o bufferOffsets) letGo(c *tls.Conn) {
	if !o.known {
		return
	}
	rawInput, hand, input := o.in(c)
	if rawInput.Len() == 0 && hand.Len() == 0 && input.Len() == 0 {
		*rawInput, *hand, *input = bytes.Buffer{}, bytes.Buffer{}, bytes.Reader{}
	}
}

// asked is how much of a handshake message has come whose rest has not.
func (o bufferOffsets) asked(c *tls.Conn) int {
	if !o.known {
		return 0
	}
	_, hand, _ := o.in(c)
	return hand.Len()
}

func (o bufferOffsets) in(c *tls.Conn) (rawInput, hand *bytes.Buffer, input *bytes.Reader) {
	at := unsafe.Pointer(c)
	return (*bytes.Buffer)(unsafe.Add(at, o.rawInput)), (*bytes.Buffer)(unsafe.Add(at, o.hand)), (*bytes.Reader)(unsafe.Add(at, o.input))
}
