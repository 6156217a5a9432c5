package messaging

import (
	"encoding/json"
	"fmt"
)

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
