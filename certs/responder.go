package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// stapleTime bounds one question to an OCSP responder, and maxStaple the answer:
	// every handshake carries it.
	stapleTime = 5 * time.Second
	maxStaple  = 16 << 10
	// maxSkew is what a responder's clock may be ahead of ours. Where a response is
	// made when it is asked for, none would do for a clock that is a second late.
	maxSkew = 5 * time.Minute
	// maxSignature bounds the signature of an answer, and so the RSA key of who signs
	// it, which is as long: to 8192 bits, as crypto/tls does. A key comes with the
	// answer and is used before it is known whose it is; one of 60,000 bits takes a
	// third of a second.
	maxSignature = 8192 / 8
)

// responderClient asks responders. Where they speak https it trusts roots, nil for the
// system's. It goes where the certificate says, and not on from there.
func responderClient(roots *x509.CertPool) *http.Client {
	return newClient(stapleTime, &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}})
}

// fetch asks the responder (RFC 6960 appendix A.1).
func (st *staple) fetch(ctx context.Context, client *http.Client) (*ocsp.Response, error) {
	issuer, err := x509.ParseCertificate(st.issuer)
	if err != nil {
		return nil, fmt.Errorf("reading the issuer: %w", err)
	}
	question, err := ocsp.CreateRequest(st.leaf, issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("making an OCSP request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, st.url, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	w, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the responder answers with status %d", w.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(w.Body, maxStaple+1))
	if err != nil {
		return nil, fmt.Errorf("reading an OCSP response: %w", err)
	}
	return readStaple(text, st.leaf, issuer, time.Now())
}

// readStaple is the response in text, if that is good or revoked for leaf, from who may
// say so, and current.
func readStaple(text []byte, leaf, issuer *x509.Certificate, now time.Time) (*ocsp.Response, error) {
	if len(text) > maxStaple {
		return nil, fmt.Errorf("the OCSP response has more than %d bytes", maxStaple)
	}
	if n := signatureSize(text); n > maxSignature {
		return nil, fmt.Errorf("the OCSP response has a signature of %d bytes; at most %d", n, maxSignature)
	}
	answer, err := ocsp.ParseResponseForCert(text, leaf, issuer)
	if err != nil {
		return nil, fmt.Errorf("reading an OCSP response: %w", err)
	}
	by, latest := answer.Certificate, now.Add(maxSkew)
	// Without this whoever has any certificate of the issuer could answer (RFC 6960
	// section 4.2.2.2).
	if by != nil && !by.Equal(issuer) && !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return nil, fmt.Errorf("the OCSP response is signed by %q, who may not", by.Subject)
	}
	switch {
	case answer.Status == ocsp.Unknown:
		return nil, errors.New("the responder does not know the certificate")
	case latest.Before(answer.ThisUpdate) || by != nil && latest.Before(by.NotBefore):
		return nil, errors.New("the OCSP response is of the future")
	case answer.NextUpdate.IsZero():
		return nil, errors.New("the OCSP response has no end")
	case !now.Before(endOf(answer)):
		return nil, errors.New("the OCSP response is over")
	}
	return answer, nil
}

// signatureSize is how long the signature of a response is (RFC 6960 section 4.2.1); 0
// if there is none.
func signatureSize(text []byte) int {
	var outer struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type asn1.ObjectIdentifier
			Text []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	var basic struct {
		Data, Algorithm asn1.RawValue
		Signature       asn1.BitString
	}
	if _, err := asn1.Unmarshal(text, &outer); err != nil {
		return 0
	}
	if _, err := asn1.Unmarshal(outer.Bytes.Text, &basic); err != nil {
		return 0
	}
	return len(basic.Signature.Bytes)
}

// endOf is when a response is over: no later than the certificate of who signed it.
func endOf(r *ocsp.Response) time.Time {
	if r.Certificate != nil && r.Certificate.NotAfter.Before(r.NextUpdate) {
		return r.Certificate.NotAfter
	}
	return r.NextUpdate
}
