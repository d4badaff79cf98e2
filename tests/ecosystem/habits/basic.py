"""Posts with urllib, which sends a password only once it was asked for one."""

import sys
import urllib.request

url = sys.argv[1]
passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password(None, url, "mia", "correct horse")
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPBasicAuthHandler(passwords),
)
print(opener.open(url, data=b"{}", timeout=30).read().decode())
