package messaging

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// readAck reads a PubAck. The usual one is {"stream":"messages","seq":17} and
// is read without a JSON decoder; anything else goes the long way.
func readAck(header, data []byte) (uint64, error) {
	if bytes.HasPrefix(header, []byte("NATS/1.0 503")) {
		return 0, fmt.Errorf("%w: nobody stores for this subject", ErrUnavailable)
	}
	const before = `{"stream":"` + streamName + `","seq":`
	if rest, ok := bytes.CutPrefix(data, []byte(before)); ok {
		if end := bytes.IndexAny(rest, ",}"); end > 0 {
			if seq, ok := number(rest[:end]); ok && seq > 0 {
				return seq, nil
			}
		}
	}
	return readOddAck(data)
}

// tooLarge are JetStream's error codes for a message that no wait will make
// fit: JSStreamMessageExceedsMaximumErr, JSStreamHeaderExceedsMaximumErr.
var tooLarge = map[int]bool{10054: true, 10097: true}

// readOddAck reads an answer of the stream that is not the usual PubAck.
func readOddAck(data []byte) (uint64, error) {
	var ack struct {
		Stream string
		Seq    uint64
		Error  *struct {
			Code        int `json:"err_code"`
			Description string
		}
	}
	if err := json.Unmarshal(data, &ack); err != nil {
		return 0, fmt.Errorf("%w: the stream answered oddly: %w", ErrUnavailable, err)
	}
	switch {
	case ack.Error != nil && tooLarge[ack.Error.Code]:
		return 0, ErrTooLarge
	case ack.Error != nil:
		return 0, fmt.Errorf("%w: %s", ErrUnavailable, ack.Error.Description)
	case ack.Stream != streamName || ack.Seq == 0:
		return 0, fmt.Errorf("%w: another stream took it", ErrUnavailable)
	}
	return ack.Seq, nil
}
