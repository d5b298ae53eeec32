# A certificate authority that replaces the signing service of a release in a test; scripts source this file. Its certificates name a
# workflow, as those of the service do, and cosign is started so that it trusts only this authority. Needs openssl, and cosign in COSIGN.

# authority_make DIRECTORY: makes root.pem, and trusted-root.json, which is the same for cosign.
authority_make() {
    mkdir -p "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /O=test/CN=authority \
        -addext keyUsage=critical,keyCertSign -keyout "$1/root.key" -out "$1/root.pem" 2> "$1/log"
    printf '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "certificateAuthorities": [{"uri": "https://authority.test",
        "subject": {"organization": "test", "commonName": "authority"}, "validFor": {"start": "2020-01-01T00:00:00Z"},
        "certChain": {"certificates": [{"rawBytes": "%s"}]}}]}\n' "$(openssl x509 -in "$1/root.pem" -outform DER | base64 -w 0)" > "$1/trusted-root.json"
}

# authority_sign DIRECTORY WORKFLOW COMMAND...: runs the command with arguments that make cosign sign in the name of this workflow,
# offline.
authority_sign() {
    authority=$1
    workflow=$2
    shift 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / -keyout "$authority/leaf.key" -out "$authority/leaf.csr" 2> "$authority/log"
    # Extension 1.8: the issuer of the workflow's identity.
    cat > "$authority/leaf.conf" << CONF
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
subjectAltName = critical, URI:$workflow
1.3.6.1.4.1.57264.1.8 = ASN1:UTF8String:https://token.actions.githubusercontent.com
CONF
    openssl x509 -req -in "$authority/leaf.csr" -CA "$authority/root.pem" -CAkey "$authority/root.key" -CAcreateserial -days 2 \
        -extfile "$authority/leaf.conf" -out "$authority/leaf.pem" 2> "$authority/log"
    rm -f "$authority/signer.key" "$authority/signer.pub"
    COSIGN_PASSWORD='' "$COSIGN" import-key-pair --key "$authority/leaf.key" --output-key-prefix "$authority/signer" > "$authority/log" 2>&1
    COSIGN_PASSWORD='' "$@" --key "$authority/signer.key" --certificate "$authority/leaf.pem" \
        --use-signing-config=false --tlog-upload=false
}
