package messaging

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	credentialsFile = "nats-services.json"
	listenUser      = "service"
	commandUser     = "service-commands"
)

// serviceSecrets are the passwords of the two users that services sign in with
// at the embedded server.
type serviceSecrets struct {
	Listen  string `json:"listen"`
	Command string `json:"command"`
}

// ServiceCredentials returns what a service signs in with at the embedded NATS
// server of dataDir: a user that may subscribe to m.> and, with canPublish, one
// that may also publish to in.m.>. They are made at the first call. A file
// that others than its owner may read is refused.
func ServiceCredentials(dataDir string, canPublish bool) (user, password string, err error) {
	s, err := readSecrets(dataDir)
	if err != nil {
		return "", "", err
	}
	if canPublish {
		return commandUser, s.Command, nil
	}
	return listenUser, s.Listen, nil
}

func readSecrets(dataDir string) (serviceSecrets, error) {
	path := filepath.Join(dataDir, credentialsFile)
	if err := writeSecrets(dataDir, path); err != nil {
		return serviceSecrets{}, fmt.Errorf("make NATS credentials: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return serviceSecrets{}, fmt.Errorf("read NATS credentials: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return serviceSecrets{}, fmt.Errorf("read NATS credentials: %s has mode %04o and must be readable by its owner alone (chmod 600)", path, mode)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return serviceSecrets{}, fmt.Errorf("read NATS credentials: %w", err)
	}
	var s serviceSecrets
	if err := json.Unmarshal(data, &s); err != nil || s.Listen == "" || s.Command == "" {
		return serviceSecrets{}, fmt.Errorf("read NATS credentials: %s is damaged; delete it to have new ones made", path)
	}
	return s, nil
}

// writeSecrets makes the file when there is none. It links a finished file
// into place, so that two processes that start at once agree on one and
// nobody reads half of it.
func writeSecrets(dataDir, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(serviceSecrets{Listen: rand.Text(), Command: rand.Text()})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dataDir, credentialsFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
