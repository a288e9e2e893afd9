#!/bin/sh
# Runs the Tomcat of the machine with this directory as its base. CATALINA_HOME names it where it is at another place.

CATALINA_BASE=$(cd "$(dirname "$0")/.." && pwd) || exit 1
found=
for home in "$CATALINA_HOME" /usr/share/tomcat10 /usr/share/tomcat9 /opt/tomcat; do
  if [ -z "$found" ] && [ -n "$home" ] && [ -f "$home/bin/catalina.sh" ]; then
    found=$home
  fi
done
if [ -z "$found" ]; then
  echo "There is no Tomcat: install tomcat10 (apt-get install tomcat10), or set CATALINA_HOME." >&2
  exit 127
fi
for file in web.xml context.xml catalina.properties logging.properties; do
  for dir in "$found/conf" "$found/etc" "/etc/${found##*/}"; do
    if [ ! -f "$CATALINA_BASE/conf/$file" ] && [ -r "$dir/$file" ]; then
      cp "$dir/$file" "$CATALINA_BASE/conf/$file"
    fi
  done
done
CATALINA_HOME=$found
CATALINA_TMPDIR=${TMPDIR:-$CATALINA_BASE/temp}
export CATALINA_BASE CATALINA_HOME CATALINA_TMPDIR
exec "$found/bin/catalina.sh" "$@"
