package proxy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// Content types of TLS records (RFC 8446 §5.1).
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// records is a TLS 1.3 connection after its handshake, record by record: what
// crypto/tls does not let a client send.
type records struct {
	t       *testing.T
	conn    net.Conn
	out, in direction
	rest    []byte // of a record that was read
	updates int    // KeyUpdates that came
}

// A direction is the keys of one (RFC 8446 §7.3).
type direction struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// clientRecords does a TLS 1.3 handshake over c by crypto/tls, and goes on from
// there by itself.
func clientRecords(t *testing.T, c net.Conn) *records {
	return handshakeRecords(t, c, tls.Client, &tls.Config{InsecureSkipVerify: true}, [2]string{"CLIENT", "SERVER"})
}

// serverRecords is the other side of that.
func serverRecords(t *testing.T, c net.Conn) *records {
	cfg := &tls.Config{Certificates: []tls.Certificate{testCertificate()}, SessionTicketsDisabled: true} // a ticket is a record
	return handshakeRecords(t, c, tls.Server, cfg, [2]string{"SERVER", "CLIENT"})
}

// handshakeRecords takes the keys from the key log. names are who we are, and the peer.
func handshakeRecords(t *testing.T, c net.Conn, role func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config, names [2]string) *records {
	var keys bytes.Buffer
	cfg.MinVersion, cfg.KeyLogWriter = tls.VersionTLS13, &keys
	secure := role(&recordwise{Conn: c}, cfg)
	if err := secure.Handshake(); err != nil {
		t.Error(err)
		return nil
	}
	if name := tls.CipherSuiteName(secure.ConnectionState().CipherSuite); name != "TLS_AES_128_GCM_SHA256" {
		t.Skipf("both ends prefer %s on this machine; the test knows AES-128-GCM", name)
	}
	r := &records{t: t, conn: c}
	for line := range strings.Lines(keys.String()) {
		f := strings.Fields(line)
		secret, _ := hex.DecodeString(f[2])
		switch f[0] {
		case names[0] + "_TRAFFIC_SECRET_0":
			r.out = keyed(secret)
		case names[1] + "_TRAFFIC_SECRET_0":
			r.in = keyed(secret)
		}
	}
	return r
}

// recordwise reads no further than the record that is asked for: what the peer sent
// behind its handshake is not crypto/tls's to read.
type recordwise struct {
	net.Conn
	left int
}

func (r *recordwise) Read(b []byte) (int, error) {
	if r.left == 0 {
		n, err := io.ReadFull(r.Conn, b[:5])
		r.left = int(binary.BigEndian.Uint16(b[3:5]))
		return n, err
	}
	n, err := r.Conn.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

func keyed(secret []byte) direction {
	block, _ := aes.NewCipher(expand(secret, "key", 16))
	aead, _ := cipher.NewGCM(block)
	return direction{secret: secret, aead: aead, iv: expand(secret, "iv", 12)}
}

// expand is HKDF-Expand-Label with an empty context.
func expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label))), label...), 0)
	key, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return key
}

func (d *direction) nonce() []byte {
	n := bytes.Clone(d.iv)
	for i := range 8 {
		n[4+i] ^= byte(d.seq >> (56 - 8*i))
	}
	d.seq++
	return n
}

// updated is the direction after a KeyUpdate (RFC 8446 §7.2).
func (d *direction) updated() direction { return keyed(expand(d.secret, "traffic upd", 32)) }

// seal makes one record.
func (r *records) seal(typ byte, payload []byte) []byte {
	inner := append(bytes.Clone(payload), typ)
	head := binary.BigEndian.AppendUint16([]byte{recordData, 3, 3}, uint16(len(inner)+16))
	return r.out.aead.Seal(head, r.out.nonce(), inner, head)
}

// sealUpdate makes a KeyUpdate that asks for one in return, and changes our keys.
func (r *records) sealUpdate() []byte {
	b := r.seal(recordHandshake, []byte{24, 0, 0, 1, 1})
	r.out = r.out.updated()
	return b
}

func (r *records) send(b []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.t.Errorf("sending %d bytes: %v", len(b), err)
	}
}

// next reads one record, past session tickets. A KeyUpdate changes its keys.
func (r *records) next() (typ byte, payload []byte, err error) {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(r.conn, head); err != nil {
			return 0, nil, err
		}
		body := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(r.conn, body); err != nil {
			return 0, nil, err
		}
		body, err := r.in.aead.Open(body[:0], r.in.nonce(), body, head)
		if err != nil {
			return 0, nil, fmt.Errorf("record %d: %w", r.in.seq-1, err)
		}
		body = bytes.TrimRight(body, "\x00") // padding
		typ, payload := body[len(body)-1], body[:len(body)-1]
		if typ == recordHandshake && payload[0] == 24 {
			r.in = r.in.updated()
			r.updates++
		}
		if typ != recordHandshake || payload[0] != 4 { // NewSessionTicket
			return typ, payload, nil
		}
	}
}

// wantAlert reads up to an alert, and then the end, with no more than a close alert
// before it.
func (r *records) wantAlert(code byte) {
	r.t.Helper()
	for {
		typ, payload, err := r.next()
		if err != nil {
			r.t.Fatalf("reading a record: %v; want alert %d", err, code)
		}
		if typ != recordAlert {
			continue
		}
		if payload[1] != code {
			r.t.Errorf("alert = %d; want %d", payload[1], code)
		}
		break
	}
	typ, payload, err := r.next()
	if err == nil && typ == recordAlert && payload[1] == 0 {
		_, _, err = r.next()
	}
	if !errors.Is(err, io.EOF) {
		r.t.Errorf("after the alert: record of type %d, %v; want the end", typ, err)
	}
}

// Read reads application data, so that a peer can be upon r.
func (r *records) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		typ, payload, err := r.next()
		switch {
		case err != nil:
			return 0, err
		case typ == recordAlert && payload[1] == 0:
			return 0, io.EOF
		case typ == recordAlert:
			return 0, fmt.Errorf("alert %d", payload[1])
		case typ == recordData:
			r.rest = payload
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Write writes records of the largest size.
func (r *records) Write(b []byte) (int, error) {
	for part := range slices.Chunk(b, 16<<10) {
		if _, err := r.conn.Write(r.seal(recordData, part)); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// CloseWrite sends TLS's close alert.
func (r *records) CloseWrite() error {
	_, err := r.conn.Write(r.seal(recordAlert, []byte{1, 0}))
	return err
}

func (r *records) Close() error { return r.conn.Close() }
