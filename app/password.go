package app

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// DefaultPasswordIterations is what a new password costs: about 3 ms. A portal on the open internet would take some
	// hundred thousand; here the hashing must not be all that a round measures.
	DefaultPasswordIterations = 10_000
	// DatasetPasswordIterations is what the dataset's passwords cost, low enough to prepare 3,000 of them in seconds.
	DatasetPasswordIterations = 2_000

	saltBytes      = 16
	hashBytes      = 32
	passwordScheme = "pbkdf2-sha256"
	// maxPasswordIterations bounds what a stored hash can make the app do.
	maxPasswordIterations = 10_000_000
)

// HashPassword makes what is stored of a password: scheme, iterations, salt and hash, separated by "$".
func HashPassword(password string, salt []byte, iterations int) (string, error) {
	if len(salt) == 0 || iterations < 1 || iterations > maxPasswordIterations {
		return "", fmt.Errorf("hash a password with %d bytes of salt and %d iterations", len(salt), iterations)
	}
	key, err := pbkdf2.Key(sha256.New, password, salt, iterations, hashBytes)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	encode := base64.RawStdEncoding.EncodeToString
	return strings.Join([]string{passwordScheme, strconv.Itoa(iterations), encode(salt), encode(key)}, "$"), nil
}

// hashNewPassword hashes with a salt of its own.
func hashNewPassword(password string, iterations int) (string, error) {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	return HashPassword(password, salt, iterations)
}

// CheckPassword reports whether password is the one that stored was made from. The error is a stored hash that cannot
// be read.
func CheckPassword(stored, password string) (bool, error) {
	parts := strings.Split(stored, "$")
	if len(parts) != 4 || parts[0] != passwordScheme {
		return false, errors.New("stored password hash is not of the form scheme$iterations$salt$hash")
	}
	iterations, err := strconv.Atoi(parts[1])
	if err != nil {
		return false, errors.New("stored password hash has no number of iterations")
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[2])
	if err != nil {
		return false, errors.New("stored password hash has a salt that is not base64")
	}
	again, err := HashPassword(password, salt, iterations)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare([]byte(again), []byte(stored)) == 1, nil
}
