package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
)

// What openssl enc -aes-256-cbc -a -md md5 writes: this word, eight bytes of salt, the ciphertext; as base64 in lines.
const (
	magic    = "Salted__"
	saltSize = 8
	lineSize = 60
)

var errCiphertext = errors.New("cannot be decrypted")

// encrypt encrypts with a fresh salt.
func encrypt(password string, plain []byte) string {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // which never fails
	return encryptWithSalt(password, plain, salt)
}

func encryptWithSalt(password string, plain, salt []byte) string {
	block, iv := newCipher(password, salt)
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	out := make([]byte, 0, len(magic)+saltSize+len(plain)+padding)
	out = append(append(out, magic...), salt...)
	body := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
	return inLines(base64.StdEncoding.EncodeToString(append(out, body...)))
}

// decrypt undoes encrypt; line ends may stand anywhere.
func decrypt(password, text string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(text) // which passes over line ends
	head := len(magic) + saltSize
	if err != nil || len(data) <= head || len(data[head:])%aes.BlockSize != 0 || string(data[:len(magic)]) != magic {
		return nil, errCiphertext
	}
	block, iv := newCipher(password, data[len(magic):head])
	body := data[head:]
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(body, body)
	padding := int(body[len(body)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, errCiphertext
	}
	plain, pad := body[:len(body)-padding], body[len(body)-padding:]
	if !bytes.Equal(pad, bytes.Repeat([]byte{byte(padding)}, padding)) {
		return nil, errCiphertext
	}
	return plain, nil
}

// newCipher derives key and initial vector as EVP_BytesToKey does with MD5 and one iteration.
func newCipher(password string, salt []byte) (cipher.Block, []byte) {
	const keySize = 32
	var derived, last []byte
	for len(derived) < keySize+aes.BlockSize {
		sum := md5.Sum(append(append(last, password...), salt...))
		last = sum[:]
		derived = append(derived, last...)
	}
	block, err := aes.NewCipher(derived[:keySize])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	return block, derived[keySize : keySize+aes.BlockSize]
}

// inLines ends every line of 60 characters, and the last one, with a line end.
func inLines(text string) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/lineSize + 1)
	for len(text) > 0 {
		n := min(lineSize, len(text))
		b.WriteString(text[:n])
		b.WriteByte('\n')
		text = text[n:]
	}
	return b.String()
}
