package seal

// For the test vectors, in which salt and number are given.
var (
	EncryptWithSalt = encryptWithSalt
	Encrypt         = encrypt
	Decrypt         = decrypt
)

const MaxSessions = maxSessions

func (k Keys) Sign_(data []byte) string { return k.sign(data) }
