cursor=$(mktemp)
follow() {
  curl --silent --show-error --no-buffer --header "Last-Event-ID: $(cat "$cursor")" "$HOOKRILL_URL" |
    while read -r line; do
      case $line in
        'id: '*) id=${line#id: } && echo "$id" >"$cursor" ;;
        'data: {"n":'*) n=${line#*:*:} && echo "event $id ${n%%[,\}]*}" ;;
      esac
    done
}
#+ while true; do follow; sleep 1; done
follow
echo end
