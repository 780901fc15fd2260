#!/bin/sh
# Certificates to develop with: an authority, a server, devices. See README.md beside this file.
set -eu

usage() {
    cat <<'END'
make.sh [--out DIR] [--name HOST|IP]... [--device ID]... [--days N]

Makes in DIR (default: out, beside this file) what is not there yet:
  ca.pem, ca.key            an authority, for ten years
  server.pem, server.key    for localhost, 127.0.0.1, ::1 and every --name
  device-ID.pem, .key       for every --device; without one, for this machine's name
--name makes the server's certificate anew, --device the device's: so they are renewed.
--days N is how long a new certificate of server or device is valid (default 30).
END
}

fail() {
    echo "make.sh: error: $1" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
out=$here/out
names=""
devices=""
days=30
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --out | --name | --device | --days) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        *) fail "unknown option $1 (see --help)" ;;
    esac
    # Values end up in certificates and file names: nothing that means something to either.
    case $1 in
        --out) out=$2 ;;
        --name)
            case $2 in *[!A-Za-z0-9.:*_-]* | "") fail "'$2' is no host name or address" ;; esac
            names="$names $2"
            ;;
        --device)
            case $2 in *[!A-Za-z0-9._-]* | "") fail "'$2': a device is named with letters, digits, . _ -" ;; esac
            devices="$devices $2"
            ;;
        --days)
            case $2 in *[!0-9]* | "" | 0*) fail "'$2' is no number of days" ;; esac
            days=$2
            ;;
    esac
    shift 2
done

command -v openssl >/dev/null 2>&1 || fail "the openssl command is not installed (apt install openssl)"
umask 077
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# quietly COMMAND...: openssl chatters; what it said is shown when it fails.
quietly() {
    "$@" >"$work/said" 2>&1 || fail "openssl failed: $(tail -n 3 "$work/said" | tr '\n' ' ')"
}

# Ours and not the machine's: what its openssl.cnf adds is not the same everywhere.
cat >"$work/config" <<'END'
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END

new_key() {
    quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key"
}

# keep NAME: the certificate last, so that whoever sees it finds its key.
keep() {
    chmod 644 "$work/pem"
    mv "$work/key" "$out/$1.key"
    mv "$work/pem" "$out/$1.pem"
    echo "$out/$1.pem: valid until $(openssl x509 -in "$out/$1.pem" -noout -enddate | cut -d= -f2)"
}

# sign NAME COMMON_NAME USAGE ALTERNATIVE_NAMES
sign() {
    new_key
    quietly openssl req -config "$work/config" -new -key "$work/key" -subj "/CN=$2" -out "$work/request"
    {
        echo "basicConstraints = critical, CA:FALSE"
        echo "keyUsage = critical, digitalSignature"
        echo "extendedKeyUsage = $3"
        echo "subjectAltName = $4"
    } >"$work/extensions"
    quietly openssl x509 -req -sha256 -in "$work/request" -CA "$out/ca.pem" -CAkey "$out/ca.key" \
        -set_serial "0x$(openssl rand -hex 16)" -days "$days" -extfile "$work/extensions" -out "$work/pem"
    keep "$1"
}

if [ ! -f "$out/ca.pem" ]; then
    new_key
    quietly openssl req -config "$work/config" -extensions ca -x509 -sha256 -new -key "$work/key" \
        -subj "/CN=Saccade development CA" -days 3650 -out "$work/pem"
    keep ca
fi

if [ ! -f "$out/server.pem" ] || [ -n "$names" ]; then
    alternatives="URI:spiffe://saccade.local/server/cloud, DNS:localhost, IP:127.0.0.1, IP:::1"
    for name in $names; do
        case $name in
            *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) alternatives="$alternatives, IP:$name" ;;
            *) alternatives="$alternatives, DNS:$name" ;;
        esac
    done
    sign server "saccade cloud" serverAuth "$alternatives"
fi

if [ -z "$devices" ]; then
    this=$(uname -n)
    [ -f "$out/device-$this.pem" ] || devices=$this
fi
for device in $devices; do
    sign "device-$device" "$device" clientAuth "URI:spiffe://saccade.local/device/$device"
done
